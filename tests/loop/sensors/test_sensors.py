"""What a controller looks at: each thing is told once, also over a restart; a place that is away is told."""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest
import sqlalchemy as sa
from tests.buckets import s3_server
from tests.projects import write_project
from tests.pushes import git

from everloop import store as tables
from everloop.data.sources.objects import listing, there
from everloop.errors import SettingsError, UsageError
from everloop.loop.sensors import Noticed, Sensors, sensors_of
from everloop.loop.sensors.git import GitSensor
from everloop.loop.sensors.schedule import ScheduleSensor
from everloop.loop.sensors.storage import StorageSensor
from everloop.loop.workspace import opened


def test_a_branch_that_is_not_there_is_told(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    sensor = GitSensor(tmp_path, "origin", "main", 60.0)
    assert sensor.look({}, 1.0) == Noticed({})  # there is no commit yet
    git(tmp_path, "commit", "-qm", "one", "--allow-empty")
    with pytest.raises(UsageError, match="there is no branch 'main' to watch"):
        sensor.look({}, 2.0)


def test_a_branch_without_a_remote_is_looked_at_as_it_is(tmp_path: Path) -> None:
    sensor = GitSensor(tmp_path, "origin", "main", 60.0)
    assert sensor.look({}, 1.0) == Noticed({})  # not under git yet
    git(tmp_path, "init", "-q")
    assert sensor.look({}, 1.0) == Noticed({})  # no commit yet
    (tmp_path / "a b.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    cursor, events, _ = sensor.look({}, 2.0)
    assert (cursor, events) == ({"commit": git(tmp_path, "rev-parse", "HEAD")}, ())
    (tmp_path / "c.py").write_text("2")
    git(tmp_path, "mv", "a b.py", "ä.py")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "two")
    moved, (event,), _ = sensor.look(cursor, 3.0)
    assert event.data["paths"] == ["a b.py", "c.py", "ä.py"]
    assert (event.data["before"], event.data["commit"]) == (cursor["commit"], moved["commit"])
    assert sensor.look(moved, 4.0) == Noticed(moved)


def test_objects_are_told_once_nothing_changes_any_more(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    sensor = StorageSensor("inbox", str(tmp_path), 1.0, 10.0)
    cursor, events, _ = sensor.look({}, 0.0)
    assert not events  # what is there at the first look is known
    (tmp_path / "a.csv").write_text("a")
    cursor, events, _ = sensor.look(cursor, 5.0)
    (tmp_path / "june").mkdir()
    (tmp_path / "june" / "b.csv").write_text("half")
    cursor, events, _ = sensor.look(cursor, 12.0)
    (tmp_path / "june" / "b.csv").write_text("the whole of it")
    cursor, events, _ = sensor.look(cursor, 20.0)
    assert not events  # a.csv is complete, but something still changes
    cursor, events, _ = sensor.look(cursor, 29.0)
    assert not events
    cursor, (event,), _ = sensor.look(cursor, 30.0)
    assert [one["name"] for one in event.data["objects"]] == ["a.csv", "june/b.csv"]
    assert (event.time, event.subject) == (20.0, "inbox")
    assert sensor.look(cursor, 100.0) == Noticed(cursor)
    (tmp_path / "a.csv").unlink()
    assert sensor.look(cursor, 200.0) == Noticed(cursor)
    (tmp_path / "a.csv").write_text("a")  # the same content again is nothing new
    assert sensor.look(cursor, 300.0)[1] == ()


def test_an_object_that_never_rests_does_not_keep_the_others(tmp_path: Path) -> None:
    sensor = StorageSensor("inbox", str(tmp_path), 1.0, 10.0)
    cursor, told = sensor.look({}, 0.0).cursor, []
    (tmp_path / "a.csv").write_text("a")
    for now in range(1, 130, 5):
        (tmp_path / "log.csv").write_text(str(now))
        cursor, events, _ = sensor.look(cursor, float(now))
        told += [(now, one["name"]) for event in events for one in event.data["objects"]]
    assert told == [(101, "a.csv")]


def test_a_place_that_is_not_there_is_empty_and_local_files_are_told_apart_by_content(tmp_path: Path) -> None:
    assert listing(str(tmp_path / "nowhere")) == []
    assert listing("memory://nowhere") == []
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    a, b = listing(str(tmp_path))
    assert (a.name, b.name, a.size, a.etag == b.etag) == ("a", "b", 4, True)


def test_a_place_where_nothing_is_is_told_until_something_comes(tmp_path: Path) -> None:
    sensor = StorageSensor("inbox", str(tmp_path / "inbox"), 1.0, 10.0)
    told = f"nothing is at {tmp_path / 'inbox'} yet: "
    cursor, events, lacks = sensor.look({}, 0.0)
    assert (events, lacks) == ((), sensor.lacks(cursor))
    assert lacks.startswith(told)
    assert "[triggers.storage] url" in lacks
    (tmp_path / "inbox").mkdir()
    cursor, events, lacks = sensor.look(cursor, 1.0)
    assert (events, lacks, sensor.lacks(cursor)) == ((), "", "")  # an empty folder is a place
    (tmp_path / "inbox" / "a.csv").write_text("a")
    cursor = sensor.look(cursor, 2.0).cursor
    cursor, (event,), lacks = sensor.look(cursor, 12.0)
    assert ([one["name"] for one in event.data["objects"]], lacks) == (["a.csv"], "")
    shutil.rmtree(tmp_path / "inbox")
    assert sensor.look(cursor, 13.0).told.startswith(told)  # as when a disk is gone


def test_a_bucket_that_is_not_there_is_told_and_one_that_was_emptied_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server("rides") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        nowhere = StorageSensor("s3://nowhere/in", "s3://nowhere/in", 1.0, 0.0)
        told = "nothing is at s3://nowhere/in yet: "
        assert nowhere.look({}, 0.0).told.startswith(told)
        assert there("s3://rides")
        assert not there("s3://rides/in")
        sensor = StorageSensor("s3://rides/in", "s3://rides/in", 1.0, 0.0)
        cursor, _, lacks = sensor.look({}, 0.0)
        assert lacks.startswith("nothing is at s3://rides/in yet: ")
        (files, _) = fsspec.core.url_to_fs("s3://rides")
        files.pipe("s3://rides/in/a.csv", b"a")
        cursor, (event,), lacks = sensor.look(cursor, 1.0)
        assert ([one["name"] for one in event.data["objects"]], lacks) == (["a.csv"], "")
        files.rm("s3://rides/in/a.csv")
        assert sensor.look(cursor, 2.0) == Noticed(cursor)
        assert sensor.lacks(cursor) == ""


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cron", "every", "looks", "due"),
    [
        ("0 3 * * *", "", ["2024-01-02T02:59:59", "2024-01-02T03:00:00", "2024-01-02T04:00:00"], "2024-01-02T03:00:00"),
        ("0 3 * * *", "", ["2024-01-09T12:00:00"], "2024-01-09T03:00:00"),  # missed ones are one
        ("", "7d", ["2024-01-05T00:00:00", "2024-01-24T00:00:00"], "2024-01-22T00:00:00"),
    ],
)
def test_a_schedule_is_due_once(cron: str, every: str, looks: list[str], due: str) -> None:
    sensor = ScheduleSensor(cron, every)
    cursor, told = sensor.look({}, at("2024-01-01T00:00:00")).cursor, []
    if cron:
        cursor = {"due": at("2024-01-01T03:00:00")}
    for now in looks:
        cursor, events, _ = sensor.look(cursor, at(now))
        told += [event.time for event in events]
    assert told == [at(due)]


def test_a_wrong_cron_line_is_told() -> None:
    with pytest.raises(SettingsError, match=r"triggers.schedule. cron = '0 3 \*': wrong number of fields"):
        ScheduleSensor("0 3 *", "")


def test_an_event_and_where_to_go_on_are_stored_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_project(tmp_path / "project")
    with (folder / "everloop.toml").open("a") as file:
        file.write('[triggers.storage]\nurl = "inbox"\ndebounce = "0s"\npoll = "10s"\n')
        file.write('[triggers.code]\n[triggers.repository_data]\nbranch = "data"\n')
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "start")
    with opened(folder) as workspace:
        assert [s.name for s in sensors_of(workspace)] == ["git:origin/main", "git:origin/data", "storage:inbox"]
        sensors = Sensors(workspace)
        with caplog.at_level(logging.WARNING):
            sensors.look(-10.0)
            sensors.look(0.0)
        lacking = [r.message for r in caplog.records if "storage:inbox" in r.message]
        assert len(lacking) == 1  # and the controller goes on
        assert f"nothing is at {folder / 'inbox'} yet" in lacking[0]
        (folder / "inbox").mkdir()
        (folder / "inbox" / "a.csv").write_text("a")
        sensors.look(5.0)  # not due yet
        events = sa.select(tables.event.c.id)
        assert workspace.store.rows(events) == []
        sensors.look(10.0)
        Sensors(workspace).look(11.0)  # a new process goes on where the last one was
        assert len(workspace.store.rows(events)) == 1
        git(folder, "remote", "add", "origin", str(tmp_path / "away.git"))
        with caplog.at_level(logging.WARNING):
            Sensors(workspace).look(20.0)
            sensors.look(100.0)
            sensors.look(200.0)
        away = [r.message for r in caplog.records if "git:origin/main" in r.message]
        assert len(away) == 2  # once by each process
        assert "git fetch failed" in away[0]
