"""Other detectors, each library in an environment of its own; a script reads streams and prints the days of alarms."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from everloop.pipelines import Environment
from everloop.pipelines.environments import build

__all__ = ["PEERS", "alarms"]

HERE = Path(__file__).parent
PEERS = {
    "river": ("river==0.26.1", "pandas<3"),
    "evidently": ("evidently==0.7.23", "pandas<3"),
    "nannyml": ("nannyml", "statsmodels", "setuptools<81"),
}


def alarms(name: str, folder: Path) -> dict[str, list[list[int]]]:
    """Return, by detector, the days of its alarms in each stream of a folder of CSV files."""
    python = build(Environment(PEERS[name], "3.11"))
    variables = {n: v for n, v in os.environ.items() if n != "VIRTUAL_ENV"} | {"DO_NOT_TRACK": "1"}
    variables["NML_DISABLE_USAGE_LOGGING"] = "1"
    command = [str(python), "-W", "ignore", str(HERE / f"{name}_alarms.py"), str(folder)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines() or [f"it ended with {done.returncode}"]
        raise SystemExit(f"{name} does not run: {told[-1]}")
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=dict[str, list[list[int]]])
