"""A few rows show the schema of all, whatever the parts that they came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.data import Schema, infer
from everloop.data.witnesses import Witnesses
from everloop.errors import DataError

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "numbers": st.floats(-5, 5) | st.none(),
    "whole": st.integers(0, 30),
    "few": st.sampled_from(["a", "b", ""]) | st.none(),
    "many": st.integers(0, 10_000).map(str),
    "bools": st.booleans(),
    "gaps": st.booleans() | st.none(),
    "mixed": st.integers(0, 2) | st.sampled_from(["x", None]) | st.booleans(),
    "lists": st.just([1]) | st.integers(0, 2),
}
TARGETS = ("numbers", "whole", "few", "bools", "mixed")


def shown(frame: pd.DataFrame, **told: Any) -> Schema | str:
    try:
        return infer(frame, target="y", time="time", **told)
    except DataError as error:
        return str(error).partition(" in row")[0]


@given(data=st.data(), kinds=st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=3), size=st.integers(1, 40))
def test_witnesses_show_what_all_rows_show(data: st.DataObject, kinds: list[str], size: int) -> None:
    count = data.draw(st.integers(1, 150))
    target = data.draw(st.sampled_from(TARGETS))
    seed = data.draw(st.integers(0, 2**16))
    drawn = {
        kind: data.draw(st.lists(VALUES[kind], min_size=4, max_size=20)) for kind in dict.fromkeys([*kinds, target])
    }
    rng = np.random.default_rng(seed)
    columns = {f"c{i}": [drawn[k][j] for j in rng.integers(0, len(drawn[k]), count)] for i, k in enumerate(kinds)}
    answers = [drawn[target][j] for j in rng.integers(0, len(drawn[target]), count)]
    frame = pd.DataFrame({"time": np.arange(count) * 60.0, **columns, "y": answers})
    frame = frame[frame["y"].notna()].reset_index(drop=True)
    if not len(frame):
        return
    found = Witnesses("y", "time")
    for start in range(0, len(frame), size):
        found.take(frame[start : start + size])
    assert found.rows == len(frame)
    assert shown(found.table, rows=found.rows) == shown(frame)


def test_rows_without_a_target_are_no_witnesses() -> None:
    rows = pd.DataFrame({"time": [1.0, 2.0, 3.0], "a": [9.0, 1.0, 2.0], "y": [None, 0.5, 1.5]})
    found = Witnesses("y", "time")
    found.take(rows)
    schema = infer(found.table, target="y", time="time", rows=3)
    assert (schema.inputs[0].minimum, schema.inputs[0].maximum) == (1.0, 2.0)
    empty = Witnesses("y", "time")
    empty.take(rows.assign(y=None))
    with pytest.raises(DataError, match="is missing in row 1"):
        infer(empty.table, target="y", time="time", rows=3)


def test_a_large_table_has_few_witnesses() -> None:
    rng = np.random.default_rng(0)
    found = Witnesses("y", "time")
    for _ in range(20):
        numbers = rng.normal(size=(5_000, 2))
        words = rng.integers(0, 10**6, 5_000).astype(str)
        found.take(pd.DataFrame({"time": 0.0, "a": numbers[:, 0], "word": words, "y": numbers[:, 1].round(1)}))
    assert len(found.table) < 1_000
    assert infer(found.table, target="y", time="time", rows=found.rows).inputs[1].kind == "text"
