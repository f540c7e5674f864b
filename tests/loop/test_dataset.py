"""Files become versions whole or not at all; what does not fit is told by file, column and row."""

from __future__ import annotations

import errno
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from tests.kills import Points, in_child, make_mortal
from tests.projects import history, write_project

from everloop import git
from everloop.data.dvc import Repository
from everloop.errors import DataError, NotFoundError, SystemError_, UsageError
from everloop.loop import data_versions
from everloop.loop.asking import ask
from everloop.loop.commands import PROMOTE, RETRAIN
from everloop.loop.dataset import Added, add_data, check_data
from everloop.loop.lease import lease
from everloop.loop.quarantined import refused, release
from everloop.loop.trail import show
from everloop.loop.workspace import opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the toy project under git, its data folder empty, its history in two files beside it."""
    folder = write_project(tmp_path / "project")
    (folder / "data" / "history.csv").unlink()
    (folder / ".gitignore").write_text("/.everloop/\n")
    git.start(folder)
    git.commit_files(folder, ["."], "start")
    rows = history()
    rows[:500].to_csv(tmp_path / "first.csv", index=False)
    rows[500:].to_csv(tmp_path / "second.csv", index=False)
    return folder


def add(folder: Path, *sources: str | Path, accept_schema: bool = False, replace: bool = False) -> Added:
    with opened(folder) as workspace:
        return add_data(workspace, [str(s) for s in sources], accept_schema=accept_schema, replace=replace)


def state(folder: Path) -> tuple[str, str, list[str]]:
    """Return what an addition may change: the commit, the tree, the data folder."""
    tree = git.run(folder, "status", "--porcelain", "--untracked-files=all")
    there = sorted(p.name for p in (folder / "data").iterdir()) if (folder / "data").is_dir() else []
    return git.run(folder, "rev-parse", "HEAD"), tree, there


def changed(folder: Path, name: str, **columns: Any) -> Path:
    """Write the second half with other values in its third and fifth row."""
    rows = history()[500:].reset_index(drop=True)
    for column, value in columns.items():
        rows[column] = [value if place in (2, 4) else known for place, known in enumerate(rows[column])]
    rows.to_csv(folder.parent / name, index=False)
    return folder.parent / name


def test_the_first_file_freezes_the_schema_and_the_second_fits(folder: Path) -> None:
    (folder / "notes.txt").write_text("half a thought")
    first = add(folder, folder.parent / "first.csv")
    assert (first.files, first.rows, first.pushed, first.notes) == (["first.csv"], 500, False, [])
    assert '+  { name = "a", dtype = "float64", minimum' in first.schema_diff
    second = add(folder, folder.parent / "second.csv")
    assert second.schema_diff == ""
    assert second.commit != first.commit
    assert git.run(folder, "status", "--porcelain").split() == ["??", "notes.txt"]  # nothing else was swept in
    assert git.run(folder, "log", "-1", "--format=%s").strip() == "data: add second.csv (400 rows)"
    assert Repository(folder, "data").versioned() == ["first.csv", "second.csv"]
    assert add(folder, folder.parent / "second.csv").commit == second.commit  # the same again is no new version
    assert add(folder, folder / "data" / "second.csv").commit == second.commit


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"a": "much"}, "second.csv: column 'a' is not a number in rows 3, 5 (2 in all): 'much'"),
        ({"y": None}, "second.csv: column 'y' (the target) is missing in rows 3, 5 (2 in all)"),
        ({"time": "yesterday"}, "second.csv: column 'time' is no time in rows 3, 5 (2 in all): 'yesterday'"),
        ({"hour": float("inf")}, "second.csv: column 'hour' is not a number in rows 3, 5 (2 in all): 'inf'"),
    ],
)
def test_rows_that_do_not_fit_are_told_and_nothing_is_added(
    folder: Path, columns: dict[str, object], told: str
) -> None:
    add(folder, folder.parent / "first.csv")
    before = state(folder)
    bad = changed(folder, "second.csv", **columns)
    shutil.copy(folder.parent / "first.csv", folder.parent / "third.csv")
    with pytest.raises(DataError) as error:
        add(folder, folder.parent / "third.csv", bad)  # one bad file keeps the good one out too
    assert str(error.value).startswith(f"{told}; nothing was added")
    assert ("--accept-schema" in str(error.value)) == (not columns.keys() & {"y", "time"})
    assert state(folder) == before


def test_no_schema_is_offered_where_none_would_take_the_files(folder: Path) -> None:
    other = folder.parent / "second.csv"
    history()[500:].rename(columns={"b": "c"}).to_csv(other, index=False)
    for accept in (False, True):
        with pytest.raises(DataError, match="is missing; nothing was added; all reasons:"):
            add(folder, folder.parent / "first.csv", other, accept_schema=accept)


def test_a_missing_column_and_a_file_that_is_none(folder: Path) -> None:
    add(folder, folder.parent / "first.csv")
    before = state(folder)
    history()[500:].drop(columns="b").to_csv(folder.parent / "second.csv", index=False)
    (folder.parent / "empty.csv").write_text("")
    (folder.parent / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    for name, told in [
        ("second.csv", "second.csv: column 'b' is missing"),
        ("empty.csv", "empty.csv: the file is empty"),
        ("ragged.csv", "ragged.csv cannot be read: .*line 3"),
        ("nothing.csv", "nothing.csv is no file"),
        ("first.txt", r"'first.txt' is not what \[data\] source takes \('\*.csv'\)"),
    ]:
        with pytest.raises((DataError, UsageError), match=told):
            add(folder, folder.parent / name)
    assert state(folder) == before


def test_a_schema_changes_only_when_a_person_accepts_it(folder: Path) -> None:
    add(folder, folder.parent / "first.csv")
    history()[500:].assign(b="text").to_csv(folder.parent / "second.csv", index=False)
    with pytest.raises(DataError, match="column 'b' is not a number"):
        add(folder, folder.parent / "second.csv")
    accepted = add(folder, folder.parent / "second.csv", accept_schema=True)
    assert '-  { name = "b", dtype = "float64"' in accepted.schema_diff
    assert '+  { name = "b", dtype = "string"' in accepted.schema_diff
    assert "schema.toml" in git.run(folder, "show", "--stat", "HEAD")


def test_a_served_table_keeps_its_columns(folder: Path) -> None:
    add(folder, folder.parent / "first.csv")
    ask(folder, RETRAIN, {})
    before = state(folder)
    changed(folder, "second.csv", b="text")
    with pytest.raises(UsageError, match=r"schema.toml: its columns are not those of v1, which serves \(b\)"):
        add(folder, folder.parent / "second.csv", accept_schema=True)
    assert state(folder) == before


def test_what_is_new_but_fits_is_noted(folder: Path) -> None:
    rows = history()
    rows.assign(kind=["day", "night"] * (len(rows) // 2)).to_csv(folder.parent / "first.csv", index=False)
    add(folder, folder.parent / "first.csv")
    rows.assign(kind="dusk", extra=1).to_csv(folder.parent / "second.csv", index=False)
    assert add(folder, folder.parent / "second.csv").notes == [
        "second.csv: column 'kind' has values it never had: 'dusk'",
        "second.csv: left out, since the schema does not name it: extra",
    ]


def test_names_that_are_taken(folder: Path) -> None:
    add(folder, folder.parent / "first.csv")
    shutil.copy(folder.parent / "second.csv", folder.parent / "first.csv")
    with pytest.raises(UsageError, match=r"first.csv is there already, with other content"):
        add(folder, folder.parent / "first.csv")
    assert add(folder, folder.parent / "first.csv", replace=True).rows == 400
    assert len(pd.read_csv(folder / "data" / "first.csv")) == 400
    (folder.parent / "other").mkdir()
    shutil.copy(folder.parent / "second.csv", folder.parent / "other")
    with pytest.raises(UsageError, match=r"two of the files are called 'second.csv'"):
        add(folder, folder.parent / "second.csv", folder.parent / "other" / "second.csv")


def test_a_file_that_lies_there_without_a_version_must_be_added_too(folder: Path) -> None:
    shutil.copy(folder.parent / "second.csv", folder / "data" / "stray.csv")
    with pytest.raises(UsageError, match=r"stray.csv in .* belongs to no version: add it too"):
        add(folder, folder.parent / "first.csv")
    assert add(folder, folder.parent / "first.csv", folder / "data" / "stray.csv").rows == 900


def test_a_url_is_fetched_and_one_that_fails_is_told(folder: Path) -> None:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert add(folder, f"{url}/first.csv?download=1").files == ["first.csv"]
        with pytest.raises(SystemError_, match=r"nothing.csv cannot be fetched: .*; nothing was added"):
            add(folder, f"{url}/nothing.csv")
        server.shutdown()


@pytest.fixture
def full_disk(folder: Path) -> Iterator[Path]:
    """Put the project on a file system with one free megabyte (root only)."""
    place = folder.parent / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(folder, place / "project")
        yield place / "project"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_no_space_leaves_all_as_it_was(full_disk: Path) -> None:
    add(full_disk, full_disk.parents[1] / "first.csv")
    before = state(full_disk)
    big = full_disk.parents[1] / "big.csv"
    pd.concat([history()] * 60).to_csv(big, index=False)
    with pytest.raises(SystemError_, match=f"{os.strerror(errno.ENOSPC)}|No space"):
        add(full_disk, big)
    assert state(full_disk) == before


def test_a_version_that_cannot_be_made_is_undone_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(folder, folder.parent / "first.csv")
    before = state(folder)

    def refuse(*_: object) -> str:
        raise SystemError_("git commit failed: a hook says no")

    monkeypatch.setattr(git, "commit_files", refuse)
    with pytest.raises(SystemError_, match="a hook says no"):
        add(folder, folder.parent / "second.csv")
    shutil.copy(folder.parent / "second.csv", folder.parent / "first.csv")
    with pytest.raises(SystemError_, match="a hook says no"):
        add(folder, folder.parent / "first.csv", replace=True)
    monkeypatch.undo()
    assert state(folder) == before
    assert len(pd.read_csv(folder / "data" / "first.csv")) == 500
    assert not Repository(folder, "data").changed()


@pytest.mark.parametrize("point", ["before a command", "after a rename"])
def test_an_addition_that_is_killed_is_undone_by_the_next(folder: Path, point: str) -> None:
    add(folder, folder.parent / "first.csv")
    before, old = state(folder), (folder / "data" / "first.csv").read_bytes()
    shutil.copy(folder.parent / "second.csv", folder.parent / "later.csv")
    shutil.copy(folder.parent / "second.csv", folder.parent / "first.csv")

    def dies() -> None:
        make_mortal()
        begin = Points.reach

        def reach(name: str) -> None:  # while the new file is in place, and no commit holds it
            moved = (folder / "data" / "first.csv").read_bytes() != old
            if moved and name == point:
                os.kill(os.getpid(), signal.SIGKILL)
            begin(name)

        Points.reach = reach  # type: ignore[method-assign]
        add(folder, folder.parent / "first.csv", replace=True)

    assert in_child(dies)[0] == -signal.SIGKILL
    assert state(folder)[2] == before[2]  # nothing lies beside it, and no file is gone meanwhile
    assert (folder / "data" / "first.csv").read_bytes() == (folder.parent / "first.csv").read_bytes()
    (folder / "notes.txt").write_text("code may be committed meanwhile")
    git.commit_files(folder, ["notes.txt"], "notes")
    before = (git.run(folder, "rev-parse", "HEAD"), *before[1:])
    with pytest.raises(DataError):
        add(folder, changed(folder, "bad.csv", a="much"))
    assert state(folder) == before
    assert (folder / "data" / "first.csv").read_bytes() == old
    add(folder, folder.parent / "later.csv")
    assert not Repository(folder, "data").changed()
    assert not (folder / ".everloop" / "replaced").exists()


def test_only_one_at_a_time_and_only_under_git(folder: Path) -> None:
    first, told = str(folder.parent / "first.csv"), SimpleQueue[str]()
    with opened(folder) as workspace, ThreadPoolExecutor() as pool:
        with lease(folder / ".everloop" / "data.lease"):
            added = pool.submit(add_data, workspace, [first], tell=told.put)
            assert told.get(timeout=60) == f"waiting for everloop data add (process {os.getpid()})"
            assert not list((folder / "data").glob("*"))
        assert added.result().rows == 500
    shutil.rmtree(folder / ".git")
    with pytest.raises(UsageError, match=r"is not under git, which versions need: run `git init` there first"):
        add(folder, folder.parent / "first.csv")


def test_versions_are_listed_compared_and_brought_back(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as workspace, pytest.raises(UsageError, match="data has no versions yet"):
        data_versions.diff(workspace, None, None)
    first = add(folder, folder.parent / "first.csv")
    ask(folder, RETRAIN, {})
    second = add(folder, folder.parent / "second.csv")
    with (folder / "everloop.toml").open("a") as file:
        file.write("# no commit holds this\n")
    ask(folder, RETRAIN, {})
    ask(folder, PROMOTE, {"version": "v2"})
    with opened(folder) as workspace:
        told = data_versions.log(workspace)
        assert [(row["id"], row["used_by"]) for row in told] == [
            ("data-2", "v2"), (second.commit[:10], ""), ("data-1", "v1"), (first.commit[:10], "")
        ]  # fmt: skip
        trained = show(workspace, "v2").record
        assert (told[0]["run"], told[0]["code"]) == (trained["run"], f"{second.commit[:10]}-dirty")
        assert data_versions.diff(workspace, first.commit[:8], second.commit)["added"] == ["data/second.csv"]
        tables = data_versions.diff(workspace, "data-1", None)
        assert (tables["rows_added"], tables["rows_removed"]) == (400, 0)
        place = data_versions.checkout(workspace, "data-1", tmp_path / "back.csv")
        assert len(pd.read_csv(place)) == 500
        with pytest.raises(UsageError, match=r"back.csv is there already"):
            data_versions.checkout(workspace, "data-1", tmp_path / "back.csv")
        for unknown in ("data-9", "0000000"):
            with pytest.raises(NotFoundError, match=f"no data version '{unknown}'"):
                data_versions.checkout(workspace, unknown)
        (folder / "data" / "mine.csv").write_text("not versioned")
        with pytest.raises(UsageError, match="data/ holds changes that no version has"):
            data_versions.checkout(workspace, first.commit)
        data_versions.checkout(workspace, first.commit, force=True)
        assert [p.name for p in (folder / "data").iterdir()] == ["first.csv"]
        assert show(workspace, "data-2").links["tag"][0].startswith("everloop/data-2-")
        tags = git.run(folder, "tag", "--list", "everloop/*").split()
        assert [tag.rpartition("-")[0] for tag in tags] == ["everloop/data-1", "everloop/data-2"]
    back = tmp_path / "training.parquet"
    command = [
        sys.executable,
        "-m",
        "dvc",
        "get",
        "-q",
        str(folder),
        "data-2.parquet",
        "--rev",
        tags[1],
        "-o",
        str(back),
    ]
    subprocess.run(command, check=True, timeout=60)
    assert len(pd.read_parquet(back)) == 900


def test_a_remote_that_refuses_keeps_the_version_here(folder: Path, tmp_path: Path) -> None:
    add(folder, folder.parent / "first.csv")
    with opened(folder) as workspace:
        data_versions.set_remote(workspace, "/proc/nothing")
    with pytest.raises(
        SystemError_, match=r"the version is kept here, but the remote did not take it: .*; `everloop data"
    ):
        add(folder, folder.parent / "second.csv")
    assert Repository(folder, "data").versioned() == ["first.csv", "second.csv"]
    with opened(folder) as workspace:
        data_versions.set_remote(workspace, str(tmp_path / "remote"))
        assert data_versions.push(workspace) == 3
    assert git.run(folder, "status", "--porcelain") == ""


def test_files_are_checked_and_nothing_is_versioned(folder: Path) -> None:
    with opened(folder) as workspace, pytest.raises(UsageError, match=r"no schema.toml to check against"):
        check_data(workspace)
    add(folder, folder.parent / "first.csv")
    before = state(folder)
    with opened(folder) as workspace:
        assert check_data(workspace) == (500, [], [])
        assert check_data(workspace, [folder.parent / "second.csv"]) == (400, [], [])
        bad, worse = changed(folder, "bad.csv", a="much"), folder.parent / "worse.csv"
        worse.write_text("time,a\n")
        rows, problems, _ = check_data(workspace, [bad, folder.parent / "second.csv", worse])
    assert rows == 400
    assert len(problems) == 2
    assert problems[0].startswith("bad.csv: column 'a'")
    assert all("worse.csv" in problem or "bad.csv" in problem for problem in problems)
    assert "nothing was added" not in "".join(problems)
    assert state(folder) == before


PHOTOS = '\n[data.columns.photo]\nkind = "image"\nsize = [4, 4]\nmode = "L"\n'


def photographed(folder: Path, name: str, start: int, stop: int) -> Path:
    """Write a table beside which its photographs lie, and return its path."""
    place = folder.parent / name
    (place / "photos").mkdir(parents=True)
    rows = history()[start:stop].assign(photo=[f"photos/{row}.png" for row in range(start, stop)])
    for row in range(start, stop):
        Image.new("L", (6, 6), row % 256).save(place / "photos" / f"{row}.png")
    rows.to_csv(place / f"{name}.csv", index=False)
    return place / f"{name}.csv"


def test_the_photographs_that_a_table_names_come_along(folder: Path) -> None:
    settings = folder / "everloop.toml"
    settings.write_text(settings.read_text() + PHOTOS)
    git.commit_files(folder, ["everloop.toml"], "photographs")
    first, second = photographed(folder, "first", 0, 120), photographed(folder, "second", 120, 160)
    assert add(folder, first).rows == 120
    assert Repository(folder, "data").versioned() == ["first.csv", *sorted(f"photos/{row}.png" for row in range(120))]
    before = state(folder)
    (second.parent / "photos" / "130.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"column 'photo' holds no image in row 11: .*no JPEG, PNG"):
        add(folder, second)
    (second.parent / "photos" / "130.png").unlink()
    with pytest.raises(DataError, match=r"column 'photo', row 11: No such file or directory"):
        add(folder, second)
    assert state(folder) == before
    assert not (folder / "data" / "photos" / "125.png").exists()
    with opened(folder) as workspace:
        found = refused(workspace)
        added = release(workspace, found[0]["id"], without_bad_rows=True)
    assert added.rows == 39
    names = {path.name for path in (folder / "data" / "photos").iterdir()}
    assert names == {f"{row}.png" for row in range(160) if row != 130}
    assert git.run(folder, "status", "--porcelain") == ""
    other = photographed(folder, "other", 0, 2)
    Image.new("L", (6, 6), 99).save(other.parent / "photos" / "1.png")
    with pytest.raises(UsageError, match=r"photos/1.png is there already, with other content: rename the new one"):
        add(folder, other)
