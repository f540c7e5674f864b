"""What a pull brings is checked and versioned as any file; what does not fit is quarantined, and the source goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from tests.data.sources.places import MAKERS, PASSWORD, VARIABLE, Database, Files, Row, answering
from tests.pull_kills import NOW, RIGHT, numbered, project_for, state
from tests.pushes import START, Running

from everloop import git
from everloop import store as tables
from everloop.data import quarantine
from everloop.data.sources import files
from everloop.errors import NotFoundError, UsageError
from everloop.loop.dataset import quarantine_of
from everloop.loop.pulling import Pulled, pull
from everloop.loop.quarantined import release
from everloop.loop.sensors import Sensors
from everloop.loop.sensors.source import ApartSensor
from everloop.loop.workspace import opened

EVERY = os.environ.get("EVERLOOP_KILL_EVERY", "13")
"""Killed is at each so many points; `make chaos` kills at all of them."""

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Database]:
    with MAKERS["sqlite"](tmp_path) as place:
        assert isinstance(place, Database)
        yield place


def one(folder: Path) -> Pulled:
    with opened(folder) as workspace:
        return pull(workspace, "shop", NOW)


def bad(start: int, end: int) -> list[Row]:
    """Return rows of which the second has no target and the third no number."""
    rows = numbered(start, end)
    rows[1]["y"] = None
    rows[2]["a"] = float("inf")
    return rows


def test_what_comes_is_a_version_and_what_does_not_fit_is_quarantined(shop: Database, tmp_path: Path) -> None:
    folder = project_for(shop, tmp_path / "project")
    shop.put(numbered(0, 24))
    first = one(folder)
    assert (first.rows, first.file, first.notes, first.more) == (24, "shop-000001.csv", [], False)
    assert '+  { name = "a", dtype = "float64"' in first.schema_diff
    assert state(folder, 24) == RIGHT
    assert git.run(folder, "log", "-1", "--format=%s").strip() == "data: add shop-000001.csv (24 rows)"
    before = git.run(folder, "rev-parse", "HEAD")
    shop.put(bad(24, 30))
    second = one(folder)
    assert (second.rows, second.commit) == (6, "")
    assert "shop-000002.csv: column 'a' is not a number in row 3: 'inf' (and 1 more)" in second.refused
    assert git.run(folder, "rev-parse", "HEAD") == before
    with opened(folder) as workspace:
        kept, place = quarantine.get(quarantine_of(workspace), second.quarantined)
        assert (kept.rows, kept.bad) == (6, 2)
        assert kept.source == workspace.settings.data.sources["shop"].url
        reasons = (place / "rows.csv").read_text()
        assert "2,column 'y' (the target) is missing" in reasons
        assert "3,column 'a' is not a number" in reasons
        shop.put(numbered(30, 36))
        third = pull(workspace, "shop", NOW)
        assert (third.rows, third.file) == (6, "shop-000003.csv")
        release(workspace, second.quarantined, without_bad_rows=True, now=NOW)
    assert sorted(files.read("data/*.csv", folder)["id"]) == [*range(25), *range(27, 36)]
    assert one(folder).rows == 0


def test_a_pattern_that_no_file_ever_matched_is_told(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    place = Files(tmp_path / "inbox")
    folder = project_for(place, tmp_path / "project")
    assert one(folder).notes == [f"no file matches {tmp_path / 'inbox'}/*.jsonl"]
    place.put(numbered(0, 24))
    assert one(folder).rows == 24
    assert one(folder).notes == []


def test_a_batch_of_another_schema_is_released_with_it(shop: Database, tmp_path: Path) -> None:
    folder = project_for(shop, tmp_path / "project")
    with shop.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sold ADD COLUMN size VARCHAR"))
    shop.put([row | {"size": str(row["id"])} for row in numbered(0, 24)])
    one(folder)
    shop.put([row | {"size": "large"} for row in numbered(24, 30)])
    with opened(folder) as workspace:
        second = pull(workspace, "shop", NOW)
        told = f"`everloop data quarantine release {second.quarantined} --accept-schema` shows and freezes the change"
        assert told in second.refused
        added = release(workspace, second.quarantined, accept_schema=True, now=NOW)
    assert (added.rows, added.files) == (6, ["shop-000002.csv"])
    assert '+  { name = "size", dtype = "string"' in added.schema_diff


@pytest.mark.slow
def test_the_controller_pulls_and_a_retraining_is_asked_for_once(shop: Database, tmp_path: Path) -> None:
    shop.keys += '\nevery = "10s"'
    folder = project_for(shop, tmp_path / "project")
    shop.put(numbered(0, 24))
    with opened(folder) as workspace:
        sensors = Sensors(workspace)
        sensors.look(NOW)
        sensors.look(NOW + 5)
        shop.put(numbered(24, 30))
        sensors.look(NOW + 9)
        events = workspace.store.rows(sa.select(tables.event))
        assert [(e["type"], e["subject"], e["status"]) for e in events] == [
            ("everloop.pulled", "24 rows from shop", "new")
        ]
        sensors.look(NOW + 11)
        assert len(workspace.store.rows(sa.select(tables.event))) == 2
    assert state(folder, 30) == RIGHT


@pytest.mark.slow
def test_a_source_that_does_not_answer_holds_nothing_up(tmp_path: Path) -> None:
    answers, asked = threading.Event(), threading.Event()

    def answer(_path: str, _authorization: str) -> tuple[int, dict[str, str], Any]:
        asked.set()
        assert answers.wait(60)
        return 200, {}, numbered(0, 24)

    with answering(answer) as url:
        keys = f'url = "{url}/sold"\ncursor = ["id"]\nevery = "10s"'
        folder = project_for(SimpleNamespace(keys=keys), tmp_path / "project")
        with opened(folder) as workspace:
            with closing(Sensors(workspace, apart=True)) as sensors:
                sensors.look(NOW)
                assert asked.wait(60)
                sensors.look(NOW + 20)  # one at a time
                with closing(ApartSensor(workspace, "shop", 10.0)) as beside:
                    while not (told := beside.look({}, NOW).told):
                        pass
                assert "another everloop data pull of shop (process" in told
                assert not workspace.store.rows(sa.select(tables.event))
                answers.set()
                while not workspace.store.rows(sa.select(tables.event)):
                    sensors.look(NOW + 20)
        one(folder)  # finishes what was broken off
    assert state(folder, 24) == RIGHT


@pytest.mark.slow
def test_sources_that_are_pulled_at_once_wait_for_each_others_additions(tmp_path: Path) -> None:
    names = ("shop", "kiosk", "market")
    places = {name: Files(tmp_path / name) for name in names}
    for number, (name, place) in enumerate(places.items()):
        (tmp_path / name).mkdir()
        place.put(numbered(100 * number, 100 * number + 100))
    more = "\n".join(f"[data.sources.{name}]\n{places[name].keys}" for name in names[1:])
    folder = project_for(places["shop"], tmp_path / "project", more)
    with opened(folder) as workspace, ExitStack() as ended:
        sensors = [ended.enter_context(closing(ApartSensor(workspace, name, 3600.0))) for name in names]
        while len(workspace.store.rows(sa.select(tables.event))) < len(names):
            assert [sensor.look({}, NOW).told for sensor in sensors] == ["", "", ""]
    assert len(list((folder / "data").glob("*-000001.csv"))) == len(names)


def test_a_pull_says_what_it_lacks(shop: Database, tmp_path: Path) -> None:
    folder = project_for(shop, tmp_path / "project")
    with opened(folder) as workspace, pytest.raises(NotFoundError, match=r"did you mean 'shop'"):
        pull(workspace, "shops", NOW)
    (folder / "data" / "shop-000001.csv").write_text("id\n1\n")
    with pytest.raises(UsageError, match=r"shop-000001.csv is there already, but not how far source 'shop' was read"):
        one(folder)


@pytest.mark.slow
def test_the_command_tells_each_source(shop: Database, tmp_path: Path) -> None:
    folder = project_for(shop, tmp_path / "project")
    with (folder / "everloop.toml").open("a") as file:
        file.write(f'[data.sources.away]\nurl = "postgresql://reader:${VARIABLE}@127.0.0.1:1/shop"\n')
        file.write('table = "sold"\ncursor = ["id"]\n')
    shop.put(numbered(0, 24))
    command = [sys.executable, "-m", "everloop.cli", "data", "pull", "--json", "--project", str(folder)]
    environment = {"PATH": "/usr/bin:/bin", VARIABLE: PASSWORD, "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 3, done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)
    assert [(row["source"], row.get("rows")) for row in told] == [("shop", 24), ("away", None)]
    assert f"[data.sources.away] postgresql://reader:${VARIABLE}@127.0.0.1:1/shop cannot be read: " in told[1]["error"]
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.slow
def test_what_was_pulled_is_trained_on(shop: Database, tmp_path: Path) -> None:
    shop.keys += '\nevery = "10s"'
    folder = project_for(shop, tmp_path / "project")
    toml = (folder / "everloop.toml").read_text().replace("[deployment]\n", '[deployment]\nstrategy = "replace"\n')
    toml = toml.replace("sources = true", 'sources = { cooldown = "0s" }')
    (folder / "everloop.toml").write_text(toml)
    git.commit_files(folder, ["everloop.toml"], "settings")
    shop.put(numbered(0, 600))
    running = Running(folder)
    for seconds in (0, 20, 40):
        running.step(START + seconds)
    shop.put(numbered(600, 640))
    running.step(START + 60)
    assert (running.last["response"], running.last["status"]) == ("retrain", "done")
    assert running.last["evidence"]["triggers"] == ["sources"]
    assert running.last["reason"].startswith("sources 40 rows from shop")
    assert running.rows(tables.data_version)[-1]["rows"] == 640
    assert {event["status"] for event in running.rows(tables.event)} == {"done"}
    running.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_pull_that_is_killed_anywhere_loses_and_doubles_no_row(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.pull_kills", str(tmp_path / "killed"), kind, EVERY]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=800)
    assert done.returncode == 0, done.stderr
    told = list(map(json.loads, done.stdout.splitlines()))
    (alive,), killed = [one for one in told if "points" in one], [one for one in told if "died" in one]
    assert alive["after"] == RIGHT
    assert len(killed) >= 2
    for point in killed:
        assert (point["died"], point["after"]) == (-9, RIGHT), point
