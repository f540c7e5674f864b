"""Bundles, a place to serve them from, and the server itself, for every test of serving."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.serving.sites import (
    RIDES,
    SHOP,
    Server,
    Site,
    Start,
    launch,
    open_plane,
    rides_graph,
    rides_plan,
    shop_graph,
    write_bundle,
)

from everloop.bundles import SigningKey
from everloop.serving.plane import Plane
from everloop.types import Column


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `keys` and the bundles of v1, v2 and s1."""
    folder = tmp_path_factory.mktemp("site")
    key = SigningKey.create(folder / "keys")
    write_bundle(folder / "bundles" / "v1", key, "rides", rides_graph(0.0), RIDES)
    write_bundle(folder / "bundles" / "v2", key, "rides", rides_graph(1000.0), RIDES)
    shop = (Column("label", "int64"), Column("probability", "float64"))
    write_bundle(
        folder / "bundles" / "s1", key, "shop", shop_graph(), SHOP, task="classification", outputs=shop, classes=(0, 1)
    )
    return folder


@pytest.fixture
def site(tmp_path: Path, bundle_folder: Path) -> Site:
    """A fresh folder with its own journal and plan, and the shared bundles."""
    (tmp_path / "keys").symlink_to(bundle_folder / "keys")
    (tmp_path / "bundles").symlink_to(bundle_folder / "bundles")
    return Site(tmp_path)


@pytest_asyncio.fixture
async def plane(site: Site) -> AsyncIterator[Plane]:
    """A plane under an event clock that serves `rides` by v1 alone, with a real journal."""
    async with open_plane(site) as opened:
        await opened.take(rides_plan(1))
        yield opened


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What server processes run in: with compiled bytecode, as an installation has it."""
    bytecode = str(tmp_path_factory.mktemp("bytecode"))
    return {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Start:
    """Return a context manager that runs `python -m everloop.serving` in a site until the block ends."""

    @contextlib.contextmanager
    def run(site: Site, *options: str) -> Iterator[Server]:
        process = launch(site, environment, *options)
        try:
            assert process.stdout
            told = [process.stdout.readline() for _ in range(2 if "--grpc-port" in options else 1)]
            assert told[-1].startswith("server http"), process.communicate()[1]
            yield Server(process, *(line.split()[1] for line in reversed(told)))
        finally:
            process.kill()
            process.communicate()

    return run


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10.0) as opened:
        yield opened
