"""Exports lineage to a real ML Metadata store: SQLite, written by the `ml-metadata` package in its own environment."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import msgspec
import sqlalchemy as sa

from everloop import store as tables
from everloop.errors import SystemError_
from everloop.loop.workspace import Workspace
from everloop.pipelines.declared import Environment
from everloop.pipelines.environments import build
from everloop.pipelines.history import runs_of

__all__ = ["ENVIRONMENT", "export_mlmd"]

ENVIRONMENT = Environment(("ml-metadata==1.17.1",), "3.11")
_FACTS = ("id", "run", "stage", "sha256", "data_version")


def export_mlmd(workspace: Workspace, file: Path) -> dict[str, int]:
    """Write all runs as an ML Metadata store, replacing the file whole; returns how many of each it holds."""
    versions = workspace.store.rows(sa.select(tables.model_version).order_by(tables.model_version.c.number))
    order = {
        "project": workspace.name,
        "artifacts": workspace.artifacts.url,
        "runs": msgspec.to_builtins(runs_of(workspace.store)),
        "versions": [
            {name: row[name] for name in ("id", "run", "stage", "sha256", "data_version")} for row in versions
        ],
    }
    python = build(ENVIRONMENT)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        folder = Path(name)
        (folder / "order.json").write_bytes(msgspec.json.encode(order))
        script = Path(__file__).with_name("inside_mlmd.py")
        command = [str(python), str(script), str(folder / "order.json"), str(folder / "store.db")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            last = ended.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise SystemError_(f"ML Metadata did not take the lineage: {last[0]}; {file} is as it was")
        (folder / "store.db").replace(file)
    found: dict[str, int] = msgspec.json.decode(ended.stdout)
    return found
