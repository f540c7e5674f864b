"""Every fault is found with its rows; what is missing breaks no rule but `present`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from everloop.data import Schema, infer
from everloop.data.validation import validate
from everloop.errors import SettingsError
from everloop.settings import Checks, Rule

N = 60


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "time": 1e9 + np.arange(N) * 60.0,
            "a": rng.uniform(size=N),
            "word": ["one", "two"] * (N // 2),
            "id": [f"x{n}" for n in range(N)],
            "y": rng.normal(size=N),
        }
    )


def schema(frame: pd.DataFrame) -> Schema:
    return infer(frame[["time", "a", "word", "y"]], target="y", time="time")


def test_good_rows_come_back_as_the_schema_has_them(frame: pd.DataFrame) -> None:
    checks = Checks(
        columns={"a": Rule(min=0, max=1), "id": Rule(unique=True), "word": Rule(values=("one", "two"))},
        rows=("a <= 1", "y < 100"),
    )
    report = validate(frame, schema(frame), checks)
    assert report.faults == ()
    assert report.table is not None
    assert list(report.table.columns) == ["time", "a", "word", "y"]


def test_types_and_rules_are_told_together_with_all_rows(frame: pd.DataFrame) -> None:
    frame["a"] = frame["a"].astype(object)
    frame.loc[[3, 7], "a"] = "much"
    frame.loc[[5, 9], "a"] = 2.0
    frame.loc[9, "word"] = "zwei"
    checks = Checks(
        columns={"a": Rule(max=1), "word": Rule(regex="[a-z]{3}", values=("one", "two"))}, rows=("a < y + 9",)
    )
    frame.loc[11, "y"] = -50.0
    report = validate(frame, schema(frame.drop(index=[3, 7]).astype({"a": float})), checks)
    found = {fault.reason.partition(" in ")[0]: fault.rows for fault in report.faults}
    assert found == {
        "column 'a' is not a number": (3, 7),
        "column 'a' is more than 1": (5, 9),
        "column 'word' does not match '[a-z]{3}'": (9,),
        "column 'word' is none of the allowed values": (9,),
        "not a < y + 9": (11,),
    }
    assert report.bad == [3, 5, 7, 9, 11]


def test_what_is_missing_breaks_no_other_rule(frame: pd.DataFrame) -> None:
    expected = schema(frame)
    frame.loc[:5, "a"] = np.nan
    frame.loc[:5, "word"] = ""
    checks = Checks(columns={"a": Rule(min=0.0), "word": Rule(regex="[a-z]{3}")}, rows=("a >= 0",))
    assert validate(frame, expected, checks).faults == ()
    checks = Checks(columns={"word": Rule(present=0.95)})
    assert [f.reason for f in validate(frame, expected, checks).faults] == [
        "column 'word' holds a value in 90.0% of the rows, [data.checks] asks for 95.0%"
    ]


def test_rows_are_told_in_the_order_and_numbers_of_the_file(frame: pd.DataFrame) -> None:
    turned = frame.iloc[::-1]  # a features function that sorts keeps the index
    turned.loc[4, "a"] = -1.0
    report = validate(turned, schema(frame), Checks(columns={"a": Rule(min=0)}))
    assert [(f.reason, f.rows) for f in report.faults] == [("column 'a' is less than 0 in row 5: '-1.0'", (N - 5,))]


def test_some_rules_hold_for_deliveries_only(frame: pd.DataFrame) -> None:
    checks = Checks(columns={"word": Rule(unique=True), "time": Rule(increasing=True), "id": Rule(regex="x.*")})
    frame.loc[3, "time"] = 1e9
    assert len(validate(frame, schema(frame), checks, of="file").faults) == 2
    assert len(validate(frame, schema(frame), checks, of="files").faults) == 1
    served = frame.drop(columns="id")
    assert validate(served, schema(frame), checks, of="served").faults == ()
    with pytest.raises(SettingsError, match=r"columns.id\] there is no such column"):
        validate(served, schema(frame), checks)


def test_an_expression_that_cannot_be_told(frame: pd.DataFrame) -> None:
    with pytest.raises(SettingsError, match=r"'not a < nothing' cannot be told: .*nothing"):
        validate(frame, schema(frame), Checks(rows=("a < nothing",)))


def test_a_time_behind_now(frame: pd.DataFrame) -> None:
    late = validate(frame, schema(frame), Checks(future="1m"), now=1e9 + 60 * (N - 4))
    assert [fault.rows for fault in late.faults] == [(N - 2, N - 1)]
