"""Other model servers, each in an environment of its own, serving the same linear model of 12 numbers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["MATRIX", "PEERS", "Peer", "environment", "start"]

HERE = Path(__file__).parent
_ROW = [i + 0.5 for i in range(12)]
MATRIX: Mapping[str, Any] = {"inputs": [{"name": "row", "shape": [1, 12], "datatype": "FP64", "data": _ROW}]}
"""One row as the Open Inference Protocol has it."""


class Peer(NamedTuple):
    """How a peer is installed, started and asked; `{port}` stands for its port."""

    requirements: tuple[str, ...]
    command: tuple[str, ...]
    path: str
    body: Mapping[str, Any]
    told: str
    """What it runs with, for the table."""


PEERS = {
    "mlserver": Peer(
        ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"), ("mlserver", "start", "."),
        "/v2/models/rides/infer", MATRIX, "MLServer 1.7.1, scikit-learn runtime, no parallel workers",
    ),
    "kserve": Peer(
        ("kserve==0.21.0", "onnxruntime", "numpy"), ("python", "kserve_server.py", "{port}"),
        "/v2/models/rides/infer", MATRIX, "KServe 0.21.0 Python server, one worker, the same ONNX graph",
    ),
    "bentoml": Peer(
        ("bentoml==1.4.*", "onnxruntime", "numpy"), ("bentoml", "serve", "bentoml_service:Rides", "--port", "{port}"),
        "/predict", {"row": [_ROW]}, "BentoML 1.4, one worker, the same ONNX graph",
    ),
    "litserve": Peer(
        ("litserve==0.2.*", "onnxruntime", "numpy"), ("python", "litserve_server.py", "{port}"),
        "/predict", {"row": [_ROW]}, "LitServe 0.2, one worker, the same ONNX graph",
    ),
    "ray": Peer(
        ("ray[serve]", "onnxruntime", "numpy"), ("python", "ray_server.py", "{port}"),
        "/predict", {"row": [_ROW]}, "Ray Serve, one replica, the same ONNX graph",
    ),
    "mlflow": Peer(
        ("mlflow==3.*", "scikit-learn", "numpy"),
        ("mlflow", "models", "serve", "-m", "mlflow_model", "--env-manager", "local", "--port", "{port}"),
        "/invocations", {"inputs": [_ROW]}, "mlflow models serve 3, one worker, scikit-learn",
    ),
}  # fmt: skip


def environment(name: str, place: Path) -> Path:
    """Return the folder of a peer's environment, made by uv where it is not there yet; raises RuntimeError."""
    folder, uv = place / name, str(Path(sys.executable).with_name("uv"))
    done = folder / ".complete"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        for command in (
            [uv, "venv", "--quiet", "--python", "3.11", str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *PEERS[name].requirements],
        ):
            made = subprocess.run(command, capture_output=True, text=True)
            if made.returncode:
                raise RuntimeError(" ".join(made.stderr.split())[-300:])
        done.touch()
    return folder


def start(name: str, place: Path, work: Path, graph: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a peer and return its process and port; it may take a while until it answers."""
    with socket.socket() as probe, socket.socket() as other:
        for one in (probe, other):
            one.bind(("127.0.0.1", 0))
        port, second = probe.getsockname()[1], other.getsockname()[1]
    folder = work / name
    folder.mkdir()
    shutil.copy(graph, folder / "model.onnx")
    for file in HERE.glob("*.*"):
        shutil.copy(file, folder / file.name)
    binaries = environment(name, place) / "bin"
    quiet = {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}
    variables = os.environ | quiet | {
        "PATH": f"{binaries}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(second), "MLSERVER_METRICS_ENDPOINT": "", "MLSERVER_PARALLEL_WORKERS": "0",
        "RAY_USAGE_STATS_ENABLED": "0", "MLSERVER_HOST": "127.0.0.1", "PYTHONPATH": "",
    }  # fmt: skip
    if name in ("mlserver", "mlflow"):
        subprocess.run([binaries / "python", "make_model.py", name], cwd=folder, env=variables, check=True)
    command = [binaries / PEERS[name].command[0], *(p.format(port=port) for p in PEERS[name].command[1:])]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True)
    return process, port
