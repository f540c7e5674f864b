"""What is wrong with a table in parts is told as of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.data import Schema, infer
from everloop.data.findings import Findings
from everloop.data.validation import Fault, Validation, validate
from everloop.settings import Checks, Rule

N = 30
CHECKS = Checks(
    columns={
        "a": Rule(min=-1.0, max=1.0, present=0.9),
        "word": Rule(values=("one", "two"), regex="[a-z]{3}"),
        "time": Rule(unique=True, increasing=True),
        "b": Rule(unique=True, increasing=True),
    },
    rows=("a < b",),
    extra="refuse",
)


def good(rows: int = N) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=rows, freq="min").strftime("%Y-%m-%dT%H:%M:%SZ"),
            "a": np.linspace(-1, 1, rows),
            "b": np.arange(rows) * 1.5 + 2,
            "word": ["one", "two"] * (rows // 2),
            "y": np.arange(rows) % 7 + 0.5,
        }
    ).astype(object)


SCHEMA: Schema = infer(good().infer_objects(), target="y", time="time", task="regression")
WRONG: list[Any] = [None, "much", -9.0, 9.0, 2.0, 3.5, 5.0, float("inf"), "one", "three"]
TIMES = [None, "never", "2024-01-01T00:01:00Z", "2024-01-01T00:20:00Z", "2031-01-01T00:00:00Z"]
CHANGE = (
    st.tuples(st.sampled_from(["a", "b", "word"]), st.sampled_from(WRONG))
    | st.tuples(st.just("time"), st.sampled_from(TIMES))
    | st.tuples(st.just("y"), st.sampled_from(WRONG[1:]))  # one that is missing hides others of the same part
)
CHANGES = st.lists(st.tuples(st.integers(0, N - 1), CHANGE), max_size=12)
NOW = pd.Timestamp("2024-01-03", tz="UTC").timestamp()


def in_parts(frame: pd.DataFrame, size: int, of: Any = "file") -> Findings:
    found, validation = Findings(), Validation(SCHEMA, CHECKS, of=of, now=NOW)
    for start in range(0, len(frame), size):
        part = frame[start : start + size]
        found.take(validation.part(part).faults, part)
    found.take(validation.whole(), None)
    return found


@settings(max_examples=20)
@given(changes=CHANGES, size=st.sampled_from([4, 9, 14, N]), of=st.sampled_from(["file", "files"]))
def test_parts_have_the_faults_of_the_whole(changes: list[tuple[int, tuple[str, Any]]], size: int, of: Any) -> None:
    frame = good()
    for row, (column, value) in changes:
        frame.loc[row, column] = value
    faults = validate(frame, SCHEMA, CHECKS, of=of, now=NOW).faults
    whole, found = Findings.of(faults, frame), in_parts(frame, size, of)

    def plain(one: Findings) -> set[tuple[str, tuple[int, ...]]]:
        # which class or time stands as an example, and in which order faults come, is of no account
        return {(f.reason.partition(" in row")[0].partition("class")[0], f.rows) for f in one.faults}

    assert plain(found) == plain(whole)
    assert (found.rows, found.bad.tolist()) == (N, whole.bad.tolist())
    shown = [one.shown for one in (found, whole)]
    if shown[1] is None:
        assert shown[0] is None
    else:
        assert shown[0] is not None
        assert shown[0]["row"].tolist() == shown[1]["row"].tolist()
        assert [set(r.split("; ")) for r in shown[0]["reasons"]] == [set(r.split("; ")) for r in shown[1]["reasons"]]


def test_a_fault_of_many_parts_is_one_sentence() -> None:
    frame = good()
    frame.loc[[3, 9, 11, 17, 25, 26, 29], "a"] = "much"
    found = in_parts(frame, 10)
    sentence = "column 'a' is not a number in rows 4, 10, 12, 18, 26 ... (7 in all): 'much'"
    assert found.told == sentence
    error = found.error("new.csv", "; nothing was added", "q-1")
    assert str(error).startswith(f"new.csv: {sentence}")
    assert error.rows == (3, 9, 11, 17, 25, 26, 29)


def test_what_cannot_be_read_counts_rows_of_the_whole() -> None:
    found = Findings()
    found.take([], good())
    found.take([Fault("", "column 'a' is no number in row 36: 'x'", (35,))], None)
    assert (found.rows, found.bad.tolist(), found.shown) == (N, [35], None)
    assert str(found.error("new.csv")) == "new.csv: column 'a' is no number in row 36: 'x'"
