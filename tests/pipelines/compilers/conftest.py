"""A project whose pods run on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from everloop.pipelines.compilers import Target

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "everloop.toml").write_text(
        '[project]\nname = "p"\n[data]\ntarget = "t"\n[training]\nmodel = "m:f"\n'
        '[storage]\nstore = "sqlite:///store.db"\nartifacts = "artifacts"\n'
    )
    (tmp_path / "hello.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def target(project: Path) -> Target:
    return Target(str(project), python=sys.executable, image="project:1")
