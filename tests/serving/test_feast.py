"""A real Feast feature server gives a real server process what requests leave out."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
from tests.buckets import free_port
from tests.serving.sites import Site, Start

from everloop.data.sources.features import PACKAGES
from everloop.pipelines.declared import Environment
from everloop.pipelines.environments import build
from everloop.types import Prediction

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_STORE = """
project: weather
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""
_VIEW = """
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

station = Entity(name="station", join_keys=["station"], value_type=ValueType.STRING)
weather = FeatureView(
    name="weather",
    entities=[station],
    schema=[Field(name="temp", dtype=Float64), Field(name="hum", dtype=Float64)],
    source=FileSource(path="weather.parquet", timestamp_field="event_timestamp"),
)
"""


@contextlib.contextmanager
def feature_server(folder: Path) -> Iterator[str]:
    """Give the URL of a feature server that knows the weather of two stations, as it is now and as it was."""
    moments = pd.to_datetime(["2024-01-02", "2024-01-02", "2024-01-01"], utc=True)
    rows = {"station": ["Bonn", "Oslo", "Oslo"], "temp": [0.5, -0.5, 9.0], "hum": [0.25, 0.5, 9.0]}
    pd.DataFrame({**rows, "event_timestamp": moments}).to_parquet(folder / "weather.parquet")
    (folder / "feature_store.yaml").write_text(_STORE)
    (folder / "weather.py").write_text(_VIEW)
    feast = [str(build(Environment(PACKAGES)).with_name("feast")), "-c", str(folder)]
    for verb in (["apply"], ["materialize", "2023-12-01T00:00:00", "2024-02-01T00:00:00"]):
        subprocess.run([*feast, *verb], check=True, capture_output=True)
    port = free_port()
    with (folder / "log").open("wb") as log:
        command = [*feast, "serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health").status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError("Feast's feature server did not start")


def test_features_come_from_a_real_feast(site: Site, start: Start, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    site.write(1)
    told = ("--features", "weather:temp", "weather:hum", "--feature-keys", "station", "--feature-timeout", "60")
    with feature_server(tmp_path / "repository") as url, start(site, "--feature-store", url, *told) as server:
        inputs = [
            {"name": "hour", "shape": [3], "datatype": "FP64", "data": [1.0, 1.0, 1.0]},
            {"name": "station", "shape": [3], "datatype": "BYTES", "data": ["Oslo", "Bonn", "Rome"]},
        ]
        answer = client.post(server.infer, json={"inputs": inputs}, timeout=60)
        assert answer.status_code == 200, answer.text
        page = client.get(f"{server.url}/metrics").text
    assert answer.json()["outputs"][0]["data"][:2] == [1.0, 1.75]
    (record,) = site.records("prediction")
    assert record.read(Prediction).inputs["temp"] == [-0.5, 0.5, None]
    assert "everloop_feature_lookup_seconds_count 1.0" in page
