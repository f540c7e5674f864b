"""Clients that nobody here wrote, each in an environment of its own, against a real server process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving.sites import RIDES, Site, launch, rides_graph, write_bundle

from everloop.bundles import SigningKey

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[list[str]]:
    """The URL and the gRPC address of a server."""
    key = SigningKey.create(tmp_path / "keys")
    for version, offset in (("v1", 0.0), ("v2", 1000.0)):
        write_bundle(tmp_path / "bundles" / version, key, "rides", rides_graph(offset), RIDES)
    site = Site(tmp_path)
    site.write(1)
    process = launch(site, {**os.environ, "OMP_NUM_THREADS": "1"}, "--grpc-port", "0")
    try:
        assert process.stdout
        grpc, url = (process.stdout.readline().split()[1] for _ in range(2))
        yield [url, grpc]
    finally:
        process.kill()
        process.communicate()


def told(folder: Path, requirement: str, script: str, addresses: list[str]) -> list[str]:
    """Run a script in a new environment that holds one requirement; return its lines."""
    uv, python = str(Path(sys.executable).with_name("uv")), str(folder / "venv" / "bin" / "python")
    for command in (
        [uv, "venv", "--python", sys.executable, str(folder / "venv")],
        [uv, "pip", "install", "--python", python, requirement],
    ):
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no environment for {requirement}: {made.stderr.strip()}")
    run = subprocess.run([python, str(HERE / script), *addresses], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_kserve_s_clients(tmp_path: Path, addresses: list[str]) -> None:
    lines = told(tmp_path, "kserve==0.21.*", "kserve_client.py", addresses)
    assert lines[:2] == ["True True", "prediction [8.75]"]
    assert "missing tensors 'temp', 'hum'" in lines[2]
    assert lines[3:5] == ["True True", "prediction [8.75]"]
    assert "missing tensors 'temp', 'hum'" in lines[5]


def test_mlserver_s_codec_and_types(tmp_path: Path, addresses: list[str]) -> None:
    assert told(tmp_path, "mlserver==1.7.*", "mlserver_types.py", addresses) == ["rides", "prediction [8.75]"]
