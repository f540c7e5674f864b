"""A store, artifacts and an engine in a folder of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from tests.buckets import gs_server, s3_server

from everloop.pipelines import ArtifactStore, Engine, LocalExecutor
from everloop.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store("sqlite:///store.db", tmp_path)
    yield store
    store.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore("artifacts", tmp_path)


@pytest.fixture
def engine(store: Store, artifacts: ArtifactStore, tmp_path: Path) -> Engine:
    """Its clock counts 1, 2, 3, ..."""
    ticks = itertools.count(1)
    return Engine(store, artifacts, LocalExecutor(artifacts), tmp_path, clock=lambda: float(next(ticks)))


@pytest.fixture(scope="module", params=["s3", "gs"])
def bucket_server(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket's URL on a real local server, and the environment that reaches it."""
    with (s3_server if request.param == "s3" else gs_server)("everloop") as environment:
        fsspec.get_filesystem_class(request.param).clear_instance_cache()  # of another server
        yield f"{request.param}://everloop", environment


@pytest.fixture
def bucket(bucket_server: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A URL below a bucket that nothing else uses."""
    url, environment = bucket_server
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return f"{url}/{tmp_path.name}"
