from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from everloop.data import Schema, conform, event_times, infer
from everloop.data.sources import journal
from everloop.inference import columns_from_lists
from everloop.journal import Position, Writer, end
from everloop.types import Column, Feedback, Prediction

SCHEMA = Schema((Column("x", "float64"),), Column("y", "float64"), "time", "regression")
CLASSES = Schema((Column("x", "float64"),), Column("y", "int64", categories=(0, 1)), "time", "classification", (0, 1))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with contextlib.closing(Writer(tmp_path / "journal")) as writer:
        yield writer


def predict(writer: Writer, id: str, time: float, **inputs: list[Any]) -> None:
    payload = Prediction("m", "v1", inputs, {"prediction": [0.0] * len(next(iter(inputs.values())))})
    writer.append("prediction", id, time, msgspec.json.encode(payload))
    writer.flush()


def observe(writer: Writer, id: str, value: Any, time: float, row: int = 0) -> None:
    writer.append("feedback", id, time, msgspec.json.encode(Feedback(id, value, time, row)))
    writer.flush()


def values(writer: Writer, until: float = 1e9, end: Position | None = None, schema: Schema = SCHEMA) -> list[list[Any]]:
    return journal.labelled(writer.folder, schema, until, end)[["x", "y"]].to_numpy(dtype=float).tolist()


def test_rows_are_served_inputs_with_their_labels(writer: Writer) -> None:
    predict(writer, "a", 10.0, x=[1.0, 2.0])
    predict(writer, "b", 20.0, x=[3.0])
    observe(writer, "a", 0.5, 30.0, row=1)
    observe(writer, "b", 1, 40.0)
    observe(writer, "unknown", 9.0, 40.0)
    observe(writer, "a", 9.0, 40.0, row=7)
    table = journal.labelled(writer.folder, SCHEMA, 50.0)
    assert list(table.columns) == ["time", "x", "y"]
    assert table.to_numpy().tolist() == [[10.0, 2.0, 0.5], [20.0, 3.0, 1.0]]


def test_only_labels_observed_by_then_count_and_the_newest_of_them_wins(writer: Writer) -> None:
    predict(writer, "a", 10.0, x=[1.0])
    observe(writer, "a", 2.0, 40.0)
    observe(writer, "a", 1.0, 30.0)
    assert values(writer, 29.0) == []
    assert values(writer, 30.0) == [[1.0, 1.0]]
    assert values(writer, 40.0) == [[1.0, 2.0]]


def test_a_label_may_come_before_its_prediction_and_a_prediction_twice(writer: Writer) -> None:
    observe(writer, "a", 2.0, 40.0)
    predict(writer, "a", 10.0, x=[1.0])
    predict(writer, "a", 10.0, x=[7.0])
    assert values(writer) == [[1.0, 2.0]]


def test_nothing_behind_the_end_is_read(writer: Writer) -> None:
    predict(writer, "a", 10.0, x=[1.0])
    observe(writer, "a", 2.0, 20.0)
    then = end(writer.folder)
    assert values(writer, end=Position(0, 0)) == []
    observe(writer, "a", 3.0, 25.0)
    predict(writer, "b", 10.0, x=[1.0])
    observe(writer, "b", 4.0, 20.0)
    assert values(writer, end=then) == [[1.0, 2.0]]
    assert values(writer, end=end(writer.folder)) == values(writer) == [[1.0, 3.0], [1.0, 4.0]]


def test_the_end_holds_over_segments(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path, segment_bytes=200)) as writer:
        ends = []
        for n in range(6):
            predict(writer, str(n), 10.0, x=[float(n)])
            observe(writer, str(n), n, 20.0)
            ends.append(end(tmp_path))
        assert ends[-1].segment > 3
        for n, place in enumerate(ends):
            assert values(writer, end=place) == [[i, i] for i in range(n + 1)]


def test_a_label_that_the_schema_has_no_place_for_stops_nothing(writer: Writer) -> None:
    for n, value in enumerate((0, True, "1", 1.0, "perhaps", 7, 0.5)):
        predict(writer, str(n), 10.0, x=[float(n)])
        observe(writer, str(n), value, 20.0)
    observe(writer, "0", "nonsense", 30.0)
    assert values(writer, schema=CLASSES) == [[0, 0], [1, 1], [2, 1], [3, 1]]
    table = conform(journal.labelled(writer.folder, CLASSES, 50.0), CLASSES)
    assert table["y"].dtype == "int64"
    assert values(writer) == [[0, 0], [3, 1], [5, 7], [6, 0.5]]


def test_a_journal_without_labels_gives_no_rows(writer: Writer, tmp_path: Path) -> None:
    predict(writer, "a", 10.0, x=[1.0])
    assert list(journal.labelled(writer.folder, SCHEMA, 50.0).columns) == ["time", "x", "y"]
    assert len(journal.labelled(tmp_path / "nowhere", SCHEMA, 50.0)) == 0


TIMES = st.floats(0, 4e9).map(lambda t: round(t, 6))
FIELDS = {
    "x": st.one_of(st.none(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False)),
    "gap": st.sampled_from([None, True, False]),
    "flag": st.booleans(),
    "text": st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["NA", "nan", "None", "1", "1.0", "True"])),
}
TARGETS = [st.floats(-1e9, 1e9), st.sampled_from([0, 1]), st.booleans(), st.sampled_from(["yes", "no", "1"])]


@given(st.data(), st.sampled_from(TARGETS), st.integers(20, 30))
@settings(max_examples=40)
def test_rows_out_of_the_journal_are_the_rows_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, targets: st.SearchStrategy[Any], count: int
) -> None:
    drawn = {name: [data.draw(values) for _ in range(count)] for name, values in FIELDS.items()}
    for name, known in (("x", 0.5), ("gap", True), ("text", "a")):
        drawn[name][:2] = [known, known]  # no column without a value
    raw = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in drawn.items()})
    raw["time"] = [data.draw(TIMES) for _ in range(count)]
    raw["y"] = pd.Series([data.draw(targets) for _ in range(count)], dtype=object)
    if raw["y"].nunique() < 2:
        raw["y"] = pd.Series([0.25, 1.5] * count, dtype=object)[:count]
    schema = infer(raw, target="y", time="time")
    filed = conform(raw, schema)
    times = event_times(filed, "time").tolist()
    folder = tmp_path_factory.mktemp("journal")
    with contextlib.closing(Writer(folder)) as writer:
        for n, (_, row) in enumerate(filed.iterrows()):
            sent = {c.name: [None if row[c.name] != row[c.name] else row[c.name]] for c in schema.inputs}
            columns_from_lists(schema.inputs, sent)  # serving takes them
            writer.append("prediction", str(n), times[n], _encode(Prediction("m", "v1", sent, {})))
            writer.append("feedback", str(n), 9e9, _encode(Feedback(str(n), _plain(row["y"]), 9e9)))
        writer.flush()
    served = conform(journal.labelled(folder, schema, 9e9), schema)
    assert_frame_equal(served, filed.reset_index(drop=True))


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
