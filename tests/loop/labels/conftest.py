"""One project with labels, made once: each test that changes it gets a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.loop.labels.test_labelling import project


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("labels")
    project(place / "project")
    return place


@pytest.fixture
def labelled(base: Path, tmp_path: Path) -> Path:
    """The folder of a toy project with sixty labelled rows; its pool without labels lies beside it."""
    shutil.copytree(base, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "project"
