"""The verbs from Python: the same work, results that show themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from tests.buckets import free_port
from tests.projects import history, write_project

import everloop
from everloop import Project, git
from everloop.errors import SettingsError, UsageError
from everloop.project import Record, Rows

DOCS = Path(__file__).parents[1] / "docs" / "notebook.md"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = write_project(tmp_path / "project")
    (folder / "data" / "history.csv").unlink()
    git.start(folder)
    history().to_csv(tmp_path / "rides.csv", index=False)
    with (folder / "everloop.toml").open("a") as file:
        file.write(f"[serving]\nport = {free_port()}\n")
    git.commit_files(folder, ["."], "start")
    return Project.open(folder)


@pytest.fixture
def served(project: Project) -> Iterator[Project]:
    project.data.add(project.folder.parent / "rides.csv")
    project.run()
    command = [sys.executable, "-m", "everloop.cli", "serve", "--project", str(project.folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    yield project
    process.terminate()
    process.wait()


def test_a_life_in_python(served: Project) -> None:
    rows = history()[-40:].reset_index(drop=True)
    answers = served.predict(rows.drop(columns="y"))
    assert answers["prediction"].corr(rows["y"]) > 0.9
    assert served.feedback(answers.assign(y=rows["y"])) == 40
    assert served.show(answers["prediction_id"][0])["links"]["version"] == ["v1"]
    outcome = served.run(reason="from a notebook")
    assert (outcome["version"], outcome["rollout"]) == ("v2", "r-1")
    assert served.rollback()["champion"] == "v1"
    assert served.deploy("v2", strategy="replace")["champion"] == "v2"
    assert served.promote("v1", reason="back")["champion"] == "v1"
    assert [v["id"] for v in served.versions()] == ["v2", "v1"]
    assert [d["response"] for d in served.decisions()][:2] == ["promote", "deploy"]
    assert served.runs()[0]["status"] == "finished"
    assert served.data.log()[0]["id"] == "data-2"
    assert len(served.data.table("data-2")) == len(history()) + 40
    assert isinstance(served.versions().frame, pd.DataFrame)
    with pytest.raises(UsageError, match="v1 is the champion already"):
        served.approve("v1")


def test_a_backtest_shows_its_picture(project: Project) -> None:
    project.data.add(project.folder.parent / "rides.csv")
    shown = project.backtest()._repr_html_()
    assert shown.startswith("<img src='data:image/png;base64,iVBOR")
    assert "frozen" in shown


def test_records_and_rows_are_tables_and_nothing_in_them_is_markup() -> None:
    record = Record(id="d-1", reason="<script>", links={"version": ["v1", "v2"]}, value=1 / 3, nothing=None)
    shown = record._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "v1<br>v2" in shown
    assert "0.3333" in shown
    table = Rows([record, record])._repr_html_()
    assert table.count("<tr>") >= 3
    assert Rows()._repr_html_() == "<p>none yet</p>"
    assert everloop.Project is Project


def test_not_a_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a project"):
        Project.open(tmp_path)
    assert repr(Project.create(tmp_path / "mine")) == f"Project('mine' in {tmp_path / 'mine'})"
    with pytest.raises(AttributeError, match="no attribute 'Projects'"):
        everloop.Projects  # noqa: B018


def test_the_page_names_methods_that_are_there() -> None:
    for method in re.findall(r"project\.(data\.)?(\w+)\(", DOCS.read_text()):
        owner = type(Project(Path(), None).data) if method[0] else Project
        assert callable(getattr(owner, method[1]))
