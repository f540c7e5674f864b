"""Rows become less telling, each by itself, and twice is once."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from everloop.data import by_row, process
from everloop.data.process import singles
from everloop.errors import DataError, SettingsError
from everloop.settings import Process

ROWS = pd.DataFrame(
    {
        "time": ["2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-02T00:00:00Z"],
        "id": [7, 7, 8, 9],
        "name": ["Ada", "Ada", None, "Cy"],
        "age": ["17", "30", "64.5", None],
        "zip": [10115, 10117, 80331, 80331],
        "city": ["Berlin", "Berlin", "Munich", "Ulm"],
        "vip": ["yes", "No", "1", None],
    }
)
TOLD = Process(
    coerce={"age": "number", "vip": "bool", "zip": "text"},
    deduplicate=("id",),
    hash=("name",),
    secret="KEY",
    bins={"age": (0, 18, 30)},
    prefix={"zip": 2},
    keep={"city": ("Berlin", "Munich")},
    drop=("id",),
)
ENVIRONMENT = {"KEY": "a secret"}


def test_files_are_processed() -> None:
    found = process(ROWS, TOLD, "time", ENVIRONMENT)
    assert found.index.tolist() == [1, 2, 3]  # of id 7 the newest
    assert "id" not in found
    assert found["age"].tolist()[:2] == [30.0, 30.0]
    assert found["age"].isna().tolist() == [False, False, True]
    assert found["zip"].tolist() == ["10", "80", "80"]
    assert found["city"].tolist() == ["Berlin", "Munich", "other"]
    assert found["vip"].tolist()[:2] == [False, True]
    digest = found["name"].iloc[0]
    assert digest.startswith("h:")
    assert "Ada" not in digest
    assert found["name"].isna().tolist() == [False, True, False]
    other = process(ROWS, TOLD, "time", {"KEY": "another"})["name"].iloc[0]
    assert other != digest


def test_one_row_and_twice_give_the_same() -> None:
    whole = process(ROWS, TOLD, "time", ENVIRONMENT)
    assert_frame_equal(by_row(whole, TOLD, ENVIRONMENT), whole)
    for place in whole.index:
        alone = by_row(ROWS.loc[[place]], TOLD, ENVIRONMENT)
        assert alone.iloc[0].astype(str).to_dict() == whole.loc[place].astype(str).to_dict()
    fewer = by_row(ROWS[["zip"]], TOLD, ENVIRONMENT)
    assert fewer["zip"].tolist() == ["10", "10", "80", "80"]


def test_equal_rows_stay_once() -> None:
    doubled = pd.concat([ROWS, ROWS], ignore_index=True)
    assert len(process(doubled, Process(deduplicate="rows"), "time", {})) == len(ROWS)


def test_nothing_declared_changes_nothing() -> None:
    assert_frame_equal(process(ROWS, Process(), "time", {}), ROWS)


def test_what_cannot_be_done_is_told() -> None:
    with pytest.raises(SettingsError, match="set the environment variable KEY"):
        process(ROWS, TOLD, "time", {})
    with pytest.raises(DataError, match=r"names column 'nam', which is not there \(did you mean 'name'\?\)"):
        process(ROWS, Process(drop=("nam",)), "time", {})
    with pytest.raises(DataError, match="column 'city' is no number in row 1: 'Berlin'") as error:
        process(ROWS, Process(coerce={"city": "number"}), "time", {})
    assert error.value.rows == (0, 1, 2, 3)


@pytest.mark.parametrize("by", ["rows", ("id",), ("city", "id")])
@pytest.mark.parametrize("time", ["time", "seconds", None])
def test_doubles_of_a_table_in_parts_are_those_of_the_whole(by: Any, time: str | None) -> None:
    rows = pd.concat([ROWS, ROWS.iloc[[2, 0]], ROWS.assign(time=None)[:2]], ignore_index=True)
    rows["seconds"] = [3.0, 1.0, 2.0, 2.0, 3.0, None, 7.0, 3.0]
    told = Process(deduplicate=by)
    whole = process(rows, told, time, {})
    for size in (1, 3, 8):
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        single = singles(iter(parts), told, time)
        assert single is not None
        assert_frame_equal(pd.concat([process(part, told, time, {}, single) for part in parts]), whole)
    assert singles(iter(parts), Process(), time) is None
