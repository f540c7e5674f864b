"""What a step reads outside counts for the cache: files, objects, queries."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import fsspec
import pytest

from everloop.errors import StepError, UsageError
from everloop.pipelines import Engine, Query, explain, pipeline, step
from everloop.pipelines.outside import fingerprint_outside, rows_of
from everloop.store import Store


@step(reads=("source",))
def count(source: str) -> int:
    return len(Path(source).read_text().splitlines())


@step(reads=("rides",))
def total(rides: Query) -> int:
    return int(sum(row[0] for row in rows_of(rides)))


@pipeline
def lines(source: str) -> int:
    return count(source)


@pipeline
def summed(rides: Query) -> int:
    return total(rides)


def statuses(engine: Engine, source: str, run: str) -> str:
    return engine.run(lines, {"source": source}, run_id=run).executions[0].status


def test_a_changed_file_is_read_again_and_explained(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rides.csv"
    file.write_text("a\nb\n")
    assert statuses(engine, "rides.csv", "1") == "ran"
    os.utime(file, (1, 1))
    assert statuses(engine, "rides.csv", "2") == "cached"
    file.write_text("a\nc\n")
    assert statuses(engine, "rides.csv", "3") == "ran"
    assert [found.why for found in explain(store, "3")] == ["outside data of source changed"]


def test_a_glob_sees_files_come_and_go(tmp_path: Path) -> None:
    found = [fingerprint_outside("*.csv", tmp_path)]
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("1")
        found.append(fingerprint_outside("*.csv", tmp_path))
    (tmp_path / "other.txt").write_text("1")
    assert fingerprint_outside("*.csv", tmp_path) == found[-1]
    assert len(set(found)) == 3
    (tmp_path / "folder").mkdir()
    assert fingerprint_outside(["*.csv", Path("folder")], tmp_path) != fingerprint_outside(["*.csv"], tmp_path)


def test_a_query_counts_by_its_rows(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIDES", str(tmp_path / "rides.db"))

    def change(*statements: str) -> None:
        with closing(sqlite3.connect(tmp_path / "rides.db")) as database, database:
            for statement in statements:
                database.execute(statement)

    change("create table ride (count int, day text)", "insert into ride values (3, 'a')")
    rides = Query("sqlite:///$RIDES", "select count from ride order by count")

    def run() -> tuple[int, str]:
        done = engine.run(summed, {"rides": rides})
        return done.value, done.executions[0].status

    assert [run(), run()] == [(3, "ran"), (3, "cached")]
    change("update ride set day = 'b'")
    assert run() == (3, "cached")
    change("insert into ride values (4, 'a')")
    assert run() == (7, "ran")
    with pytest.raises(StepError, match="the query 'select a from nowhere' cannot be read: no such table"):
        engine.run(summed, {"rides": Query("sqlite:///$RIDES", "select a from nowhere")})


def test_objects_count_by_their_content(bucket: str, tmp_path: Path) -> None:
    def put(name: str, data: bytes) -> None:
        with fsspec.open(f"{bucket}/{name}", "wb") as file:
            file.write(data)

    put("rides/1.csv", b"one")
    first = fingerprint_outside(f"{bucket}/rides", tmp_path)
    put("rides/1.csv", b"one")
    assert fingerprint_outside(f"{bucket}/rides/*.csv", tmp_path) == first
    put("rides/1.csv", b"two")
    second = fingerprint_outside(f"{bucket}/rides", tmp_path)
    put("rides/2.csv", b"one")
    assert len({first, second, fingerprint_outside(f"{bucket}/rides", tmp_path)}) == 3


def test_what_cannot_be_reached_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere://x cannot be read: Protocol not known"):
        fingerprint_outside("nowhere://x", tmp_path)
    with pytest.raises(UsageError, match="a int names nothing outside"):
        fingerprint_outside(3, tmp_path)
    with pytest.raises(UsageError, match="reads 'other', which is no parameter of it"):
        step(reads=("other",))(lambda source: source)
