"""What engines on this machine call: each pod of a graph as the command line of our entry point."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from everloop.errors import SystemError_
from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.compilers import Target
from everloop.pipelines.compilers.pods import pods_of
from everloop.pipelines.declared import Environment
from everloop.pipelines.engine import Engine
from everloop.pipelines.entry import arguments_as_text
from everloop.pipelines.environments import build
from everloop.pipelines.graph import trace
from everloop.pipelines.step import Pipeline

__all__ = ["Called", "commands_of", "work_off"]

_LAST_LINES = 15


class Called(msgspec.Struct, frozen=True):
    """A pod as a command; it takes `--out FILE` for what its nodes made."""

    name: str
    after: tuple[str, ...]
    command: list[str]


def commands_of(
    pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], artifacts: ArtifactStore, target: Target, run: str
) -> list[Called]:
    """Return the pods of a run, each after what it needs; loops and branches are inside of their pod."""
    texts = arguments_as_text(pipeline, arguments, artifacts)
    told = [target.python, "-m", "everloop.pipelines.entry", "--project", target.project, "--run", run]
    told += ["--pipeline", f"{pipeline.function.__module__}:{pipeline.function.__qualname__}"]
    told += [f"--argument={name}={text}" for name, text in texts.items()]
    pods = pods_of(trace(pipeline, arguments), fuse=target.fuse)
    return [Called(pod.name, pod.after, [*told, *(f"--node={n.name}" for n in pod.nodes)]) for pod in pods]


def work_off(engine: Engine, run: str, script: Path, environment: Environment, order: Mapping[str, Any]) -> None:
    """Let another engine's script, in an environment of its own, work off a run; raises what a step came to.

    `order` is handed to the script as a JSON file in its `folder`.
    """
    folder = Path(order["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "order.json"
    file.write_bytes(msgspec.json.encode(order))
    python = build(environment)
    with (folder / "log.txt").open("wb") as log:
        variables = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        ended = subprocess.run(
            [str(python), str(script), str(file)], stdout=log, stderr=log, env=variables, check=False
        )
    if ended.returncode:
        engine.raise_failure(run)
        last = "\n".join((folder / "log.txt").read_text(errors="replace").splitlines()[-_LAST_LINES:])
        raise SystemError_(
            f"run {run} ended with exit code {ended.returncode}; the end of {folder / 'log.txt'}:\n{last}"
        )
