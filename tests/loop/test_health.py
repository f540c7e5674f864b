from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from tests.projects import write_project

from everloop import git
from everloop.data import dvc
from everloop.loop.health import PACKAGES, Finding, examine


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {f.what: f for f in findings}


def test_a_machine_that_runs_these_tests_is_well(tmp_path: Path) -> None:
    found = by_name(examine(write_project(tmp_path / "project")))
    assert set(found) == {"python", *PACKAGES, "git", "disk", "project", "versions", "port"}
    for name in ("python", *PACKAGES, "project"):
        assert found[name].well, found[name]
        assert found[name].found


def test_what_is_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    found = by_name(examine(tmp_path))["project"]
    assert (found.well, found.do) == (False, "everloop init NAME writes one")


def test_a_port_that_somebody_has(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (folder / "everloop.toml").open("a") as file:
            file.write(f"\n[serving]\nport = {port}\n")
        found = by_name(examine(folder))["port"]
    assert not found.well
    assert str(port) in found.found


def test_what_is_not_there_is_told_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_name(examine(tmp_path))
    assert (found["lightgbm"].well, found["lightgbm"].do) == (False, "pip install 'everloop[platform]'")
    assert (found["git"].well, found["git"].found) == (False, "not found")


def test_data_that_can_have_no_versions(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    assert by_name(examine(folder))["versions"].found == "the project is not under git"
    git.start(folder)
    assert by_name(examine(folder))["versions"].well
    dvc.start(folder)
    assert by_name(examine(folder))["versions"].found == "git and DVC, no remote"
