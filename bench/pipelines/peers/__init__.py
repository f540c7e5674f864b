"""Other pipeline systems, each in an environment of its own, each with the same chain of trivial steps."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from everloop.pipelines import Environment
from everloop.pipelines.environments import build

__all__ = ["LEFT_OUT", "PEERS", "Peer", "run"]

HERE = Path(__file__).parent
QUIET = {
    "METAFLOW_USER": "bench", "USERNAME": "bench", "DAGSTER_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    "ZENML_ANALYTICS_OPT_IN": "false", "ZENML_LOGGING_VERBOSITY": "ERROR", "AUTO_OPEN_DASHBOARD": "false",
    "KEDRO_DISABLE_TELEMETRY": "1",
}  # fmt: skip


LEFT_OUT = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
"""The second would make each of their processes compile its modules anew."""


class Peer(NamedTuple):
    """Its packages, what its script is called with, and whether it stores lineage beside the results."""

    packages: tuple[str, ...]
    lineage: bool = True
    arguments: tuple[str, ...] = ()


PEERS = {
    "metaflow": Peer(("metaflow==2.19.39", "setuptools<81"), arguments=("--quiet", "run")),
    "dagster": Peer(("dagster==1.12.5",)),
    "zenml": Peer(("zenml[local]",)),
    "kedro": Peer(("kedro", "kedro-datasets[pickle]"), lineage=False),
}


def run(name: str, folder: Path, steps: int) -> subprocess.CompletedProcess[str]:
    """Run a peer's chain in a folder where its state lies."""
    peer = PEERS[name]
    python = build(Environment(peer.packages, "3.11"))
    variables = {n: v for n, v in os.environ.items() if n not in LEFT_OUT} | QUIET
    variables |= {"HOME": str(folder), "STEPS": str(steps)}
    variables |= {"ZENML_CONFIG_PATH": str(folder / "zenml"), "DAGSTER_HOME": str(folder / "dagster")}
    (folder / "dagster").mkdir(exist_ok=True)
    command = [str(python), str(HERE / f"{name}_chain.py"), *peer.arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
