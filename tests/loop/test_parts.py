"""A project that reads its files in parts trains on, adds and shows the same rows as one that reads them whole."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from tests.projects import history, write_project

from everloop import git
from everloop.data import schema_file
from everloop.data.sources import files
from everloop.errors import DataError
from everloop.loop import profiling
from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.dataset import add_data, check_data
from everloop.loop.parts import Newest, Parts, Reading, parts_of
from everloop.loop.profiling import profile_data
from everloop.loop.trail import listing, show
from everloop.loop.training_sets import table_of
from everloop.loop.workspace import opened

FEATURES = """

def features(rows):
    rows = rows[rows["a"] > -2]
    return rows.assign(word=rows["word"].fillna("").map(len))
"""
PROCESS = '\n[data.process]\ndeduplicate = ["time"]\nbins = { hour = [0, 12] }\n'


def written(folder: Path, chunk_rows: int = 0, more: str = "") -> Path:
    """Write a project whose rows come in three files of several kinds, some of them twice, and a word that has gaps."""
    project = write_project(folder, days=60)
    (project / "toy" / "model.py").write_text((project / "toy" / "model.py").read_text() + FEATURES)
    text = (project / "everloop.toml").read_text()
    text = text.replace("[data]\n", f"[data]\nchunk_rows = {chunk_rows}\n").replace("data/*.csv", "data/*.*")
    text = text.replace("[training]\n", f'[training]\nfeatures = "toy.model:features"\n{more}')
    (project / "everloop.toml").write_text(text + PROCESS)
    (project / "data" / "history.csv").unlink()
    rows = history(days=60).assign(word=lambda f: (f.index % 9).map(lambda n: ["", "007", "x"][n % 3]))
    (project / "data").mkdir(exist_ok=True)
    files.write(rows[:300], project / "data" / "1.csv")
    files.write(rows[250:500], project / "data" / "2.jsonl")
    files.write(rows[500:].assign(word="xx"), project / "data" / "3.csv")
    return project


def trained_on(project: Path) -> tuple[pd.DataFrame, str]:
    """Return what a training was made on, and what a person is told of it."""
    ask(project, RETRAIN, {})
    with opened(project) as workspace:
        decision = show(workspace, listing(workspace, "decision")[0]["id"]).record
        return table_of(workspace, "data-1"), str(decision["evidence"]["outcome"]["data"])


def test_trainings_see_the_same_rows(tmp_path: Path) -> None:
    whole, _ = trained_on(written(tmp_path / "whole"))
    found, _ = trained_on(written(tmp_path / "parts", chunk_rows=41))
    assert_frame_equal(found, whole)
    assert len(whole) < 720  # doubles are gone, and what the features function leaves out
    newest, told = trained_on(written(tmp_path / "newest", chunk_rows=41, more="max_rows = 400\n"))
    assert_frame_equal(newest, whole[-400:].reset_index(drop=True))
    assert f"{len(whole) - 400} older rows are left out: [training] max_rows" in told
    capped, _ = trained_on(written(tmp_path / "capped", more="max_rows = 400\n"))
    assert_frame_equal(capped, newest)


def test_the_same_is_added_checked_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "SAMPLE", 400)
    seen = []
    for chunk_rows in (0, 41):
        project = written(tmp_path / str(chunk_rows), chunk_rows)
        (project / "data").rename(given := tmp_path / f"given-{chunk_rows}")
        (project / ".gitignore").write_text("/.everloop/\n")
        git.start(project)
        git.commit_files(project, ["."], "start")
        with opened(project) as workspace:
            added = add_data(workspace, sorted(map(str, given.glob("*.*"))), now=1.8e9)
            frozen = schema_file.read(project)
            shown = profile_data(workspace)
            history(days=70)[720:].assign(word="other").to_csv(tmp_path / "4.csv", index=False)
            checked = check_data(workspace, [tmp_path / "4.csv"])
        seen.append((added.rows, added.schema_diff, frozen, checked))
        told = [f"a sample is shown, one row in 2 of {added.rows:,}"] if chunk_rows else []
        assert [note.partition(":")[0] for note in shown.notes if "is shown" in note] == told
        assert shown.profile.rows == (-(-added.rows // 2) if chunk_rows else added.rows)
    assert seen[0] == seen[1]


def test_rows_without_a_time_are_a_minute_apart_over_all_parts(tmp_path: Path) -> None:
    history().drop(columns="time").to_csv(tmp_path / "a.csv", index=False)
    found = [
        pd.concat(list(Parts("a.csv", tmp_path, Reading(None, ".", "y", None, None, chunk_rows=rows), tmp_path)))
        for rows in (0, 100)
    ]
    assert_frame_equal(found[1], found[0])


def test_no_more_than_twice_the_newest_rows_are_held() -> None:
    rows = history().sample(frac=1.0, random_state=1)
    newest = Newest("time", 50)
    for start in range(0, len(rows), 20):
        newest.take(rows[start : start + 20])
        assert sum(map(len, newest._parts)) <= 100
    assert_frame_equal(newest.table, rows.sort_values("time", kind="stable")[-50:])
    assert newest.rows == len(rows)


def test_files_that_do_not_fit_into_memory_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = written(tmp_path / "project")
    monkeypatch.setattr(os, "sysconf", lambda name: 100 if name == "SC_PAGE_SIZE" else 10)
    with opened(project) as workspace, pytest.raises(DataError, match=r"memory here: set \[data\] chunk_rows"):
        parts_of(workspace.settings, project, project / "data" / "1.csv").whole()
