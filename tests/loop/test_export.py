"""The journal as Parquet: what DuckDB and pandas read is what was journalled, and what was erased is not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.loop.audited import audited, purchase, ride, serve

from everloop.errors import JournalError
from everloop.journal import Writer
from everloop.loop.audit import erase
from everloop.loop.export import export
from everloop.loop.workspace import Workspace
from everloop.types import Failure, Prediction

NOW = 1_700_000_000.0


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with audited(tmp_path) as opened:
        yield opened


def test_what_was_journalled_is_read_by_others(workspace: Workspace, tmp_path: Path) -> None:
    rides = serve(workspace, [ride(1.0), ride(2.5, time=1_700_000_000.25)], "v2")
    shop = serve(workspace, [purchase(0.5, "Oslo"), purchase(1.5, "Rome")], "v3")
    made = export(workspace, tmp_path / "out")
    assert (made.written, made.kept, made.rows) == (
        8,
        0,
        {"predictions": 4, "feedback": 4, "explanations": 0, "failures": 0},
    )
    frame = pd.read_parquet(tmp_path / "out" / "predictions").set_index("id")
    assert set(frame.index) == {*rides, *shop}
    assert frame.loc[rides[1], "time"] == pd.Timestamp("2023-11-14T22:13:20.25Z")
    assert frame.loc[rides, "input_hour"].tolist() == [1.0, 2.5]
    assert frame.loc[rides, "output_prediction"].tolist() == [1001.75, 1003.25]
    assert frame.loc[shop, "input_city"].tolist() == ["Oslo", "Rome"]
    assert frame.loc[shop, "input_count"].tolist() == [2, 2]
    assert all(len(p) == 2 and abs(sum(p) - 1) < 1e-6 for p in frame.loc[shop, "output_probability"])
    assert frame.loc[shop[1], "flags"] == '{"unknown_categories":{"city":["Rome"]}}'
    assert frame.loc[[*rides, *shop], "version"].tolist() == ["v2", "v2", "v3", "v3"]
    joined = duckdb.execute(
        f"select p.id, p.output_prediction - f.value from '{tmp_path}/out/predictions/*.parquet' p "
        f"join '{tmp_path}/out/feedback/*.parquet' f using (id, row) where p.version = 'v2' order by p.time"
    ).fetchall()
    assert joined == [(rides[0], 998.25), (rides[1], 999.75)]


def test_only_what_is_new_is_written_again(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    serve(workspace, [ride(1.0)])
    export(workspace, out)
    first = (out / "predictions" / "00000001.parquet").stat()
    serve(workspace, [ride(2.0)])
    made = export(workspace, out)
    assert (made.written, made.kept, made.rows["predictions"]) == (4, 4, 2)
    assert (out / "predictions" / "00000001.parquet").stat() == first
    assert not list(out.glob("*/*.partial"))


def test_an_erasure_reaches_every_folder_that_was_exported_to(workspace: Workspace, tmp_path: Path) -> None:
    ids = serve(workspace, [ride(float(hour)) for hour in (5, 6, 7)])
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        export(workspace, out)
    (outs[1] / "mine").mkdir()
    copy = pq.read_table(outs[1] / "predictions").replace_schema_metadata(None)
    pq.write_table(copy, outs[1] / "mine" / "copy.parquet")
    found = erase(workspace, [], "hour", "6", "asked for", NOW)
    assert (found.ids, found.records, found.exported) == ([ids[1]], 2, 4)
    for out in outs:
        assert pd.read_parquet(out / "predictions")["id"].tolist() == [ids[0], ids[2]]
        assert ids[1] not in pd.read_parquet(out / "feedback")["id"].tolist()
    assert len(pd.read_parquet(outs[1] / "mine")) == 3
    assert export(workspace, outs[0]).rows["predictions"] == 2
    assert pd.read_parquet(outs[0] / "predictions")["id"].tolist() == [ids[0], ids[2]]


def test_a_folder_that_cannot_be_written(workspace: Workspace, tmp_path: Path) -> None:
    serve(workspace, [ride(1.0)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions").write_text("a file")
    with pytest.raises(JournalError, match=r"written into .*/out \((File exists|Not a directory)\): name another"):
        export(workspace, tmp_path / "out")


def test_routes_and_failures_are_told(workspace: Workspace, tmp_path: Path) -> None:
    common = {"model": "toy", "version": "v3", "variant": "candidate", "propensity": 0.1, "why": "key", "key": "4f1d"}
    answered = Prediction(inputs={"hour": [1.0]}, outputs={"prediction": [2.0]}, level=(1.5,), **common)  # type: ignore[arg-type]
    failed = Failure(status=504, latency_us=30, **common)  # type: ignore[arg-type]
    with contextlib.closing(Writer(workspace.journal)) as writer:
        writer.append("prediction", "p-1", NOW, msgspec.json.encode(answered))
        writer.append("failure", "p-2", NOW, msgspec.json.encode(failed))
        writer.flush()
    export(workspace, tmp_path / "out")
    (row,) = pq.read_table(tmp_path / "out" / "predictions").to_pylist()
    assert (row["why"], row["key"], row["level"]) == ("key", "4f1d", [1.5])
    (row,) = pq.read_table(tmp_path / "out" / "failures").to_pylist()
    assert (row["id"], row["status"], row["key"], row["latency_us"]) == ("p-2", 504, "4f1d", 30)
