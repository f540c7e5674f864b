"""A store, artifacts and an engine in a folder of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

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
