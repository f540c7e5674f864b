from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.projects import history

from everloop import git
from everloop.errors import UsageError
from everloop.loop.projects import create_project, templates
from everloop.replay.backtest import run_backtest
from everloop.settings import load


@pytest.fixture(autouse=True)
def author(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")


@pytest.mark.parametrize("template", templates())
def test_a_new_project_is_named_committed_and_clean(tmp_path: Path, template: str) -> None:
    assert create_project(tmp_path / "rides", template)
    assert load(tmp_path / "rides").project.name == "rides"
    told = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tmp_path / "rides", capture_output=True, text=True, check=True
    )
    assert told.stdout == ""
    assert git.branch(tmp_path / "rides") == "main"  # which triggers and CI watch
    assert (tmp_path / "rides" / "data").is_dir()
    assert [p.name for p in tmp_path.iterdir()] == ["rides"]


def test_the_minimal_project_works_on_ones_own_rows(tmp_path: Path) -> None:
    create_project(tmp_path / "mine", "minimal")
    project = tmp_path / "mine"
    rows = (
        history(days=40, change=25).rename(columns={"y": "target"}).assign(kind=lambda d: d["hour"].astype(str) + "h")
    )
    rows.to_csv(project / "data" / "rows.csv", index=False)
    summary = run_backtest(project, None, tmp_path / "out", schedules=False)
    assert summary["rmse"]["loop"] < 60
    assert len(summary["versions"][0]["commit"]) == 40


def test_an_unknown_template_gets_the_close_match(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no template 'minimum' \(did you mean 'minimal'\?\): one of adult"):
        create_project(tmp_path / "rides", "minimum")


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "rides").mkdir()
    (tmp_path / "rides" / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="not an empty folder"):
        create_project(tmp_path / "rides", "minimal")
    assert [p.name for p in (tmp_path / "rides").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    create_project(tmp_path / "empty", "minimal")


def test_an_empty_folder_stays_the_one_a_person_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rides").mkdir()
    monkeypatch.chdir(tmp_path / "rides")
    (tmp_path / ".rides.partial").write_text("nothing is written beside it, where that may not be allowed")
    assert create_project(Path("."), "minimal")
    assert Path("everloop.toml").is_file()
    assert load(tmp_path / "rides").project.name == "rides"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".rides.partial", "rides"]


def test_no_project_inside_of_another(tmp_path: Path) -> None:
    create_project(tmp_path / "outer", "minimal")
    with pytest.raises(UsageError, match="would lie inside of the project"):
        create_project(tmp_path / "outer" / "models" / "inner", "minimal")
    assert not (tmp_path / "outer" / "models").exists()


@pytest.mark.parametrize("name", ["-rides", "my rides", "rides!"])
def test_a_name_must_work_in_a_request(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a project"):
        create_project(tmp_path / name, "minimal")
