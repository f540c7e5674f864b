from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from everloop.data import Schema, conform, event_times, infer, timed
from everloop.data.schema import label
from everloop.errors import DataError
from everloop.types import Column, Task

START = "2024-01-01T00:00:00Z"


def table(rows: int = 40, **columns: Any) -> pd.DataFrame:
    """Return hourly rows of one number and a target of many values, with `columns` in their place."""
    times = (pd.Timestamp(START) + pd.to_timedelta(np.arange(rows), unit="h")).strftime("%Y-%m-%dT%H:%M:%SZ")
    return pd.DataFrame({"time": times, "x": np.arange(rows) / 2, "y": np.arange(rows) / 3, **columns})


def schema_of(frame: pd.DataFrame, task: Task | None = None) -> Schema:
    return infer(frame, target="y", time="time", task=task)


def column(values: list[Any], dtype: Any = object) -> Column:
    """Return what `infer` makes of a column of 40 values."""
    frame = table(c=pd.Series((values * 40)[:40], dtype=dtype))
    return next(c for c in schema_of(frame).inputs if c.name == "c")


# Inference


def test_numbers_are_float64_with_their_range() -> None:
    assert column([1.5, None, 3.0], "float64") == Column("c", "float64", minimum=1.5, maximum=3.0)
    assert column([1, 7], "int64") == Column("c", "float64", minimum=1.0, maximum=7.0)
    assert column([1, None], "Int64") == Column("c", "float64", minimum=1.0, maximum=1.0)


def test_numbers_that_pandas_keeps_as_objects_are_numbers() -> None:
    assert column([Decimal("1.5"), None, 2]) == Column("c", "float64", minimum=1.5, maximum=2.0)
    assert column([2**70, 1, 0.5]) == Column("c", "float64", minimum=0.5, maximum=float(2**70))
    assert column([True, 2]).dtype == "float64"


def test_booleans_stay_booleans_unless_some_are_missing() -> None:
    assert column([True, False], bool) == column([True, False]) == Column("c", "bool")
    assert column([True, False], "boolean") == Column("c", "bool")
    for dtype in (object, "boolean"):
        assert column([True, None, False], dtype) == Column("c", "float64", minimum=0.0, maximum=1.0)


def test_text_that_repeats_is_a_category() -> None:
    assert column(["b", "a"]) == Column("c", "string", "categorical", categories=("a", "b"))
    assert column(["b", "a"], "category") == column(["b", "a"])
    assert column([f"text {i}" for i in range(40)]) == Column("c", "string", "text")


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_missing_text_is_the_empty_category(missing: Any) -> None:
    assert column(["a", missing]).categories == ("", "a")
    frame = table(c=pd.Series(["a", missing] * 20, dtype=object))
    assert conform(frame, schema_of(frame))["c"].tolist() == ["a", ""] * 20


def test_mixed_columns_are_text_and_numbers_lose_the_point_that_a_gap_gave_them() -> None:
    assert column(["x", 7, 7.0, 2.5, True]).categories == ("2.5", "7", "True", "x")


def test_the_words_none_and_nan_are_text_like_any_other() -> None:
    assert column(["None", "nan", "NA"]).categories == ("NA", "None", "nan")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([None], "column 'c' holds no value: drop it"),
        ([pd.Timestamp(START)], "column 'c' is a time: only"),
        ([datetime.date(2024, 1, 1)], "column 'c' is a time: only"),
        ([pd.Timedelta("1h")], "column 'c' is a time: only"),
        ([[1, 2]], "column 'c' holds a list: turn it into numbers"),
        ([{"a": 1}], "column 'c' holds a dict: turn it into numbers"),
        ([np.inf], "column 'c' is not a number in rows 1, 2, 3, 4, 5 ... \\(40 in all\\): 'inf'"),
    ],
)
def test_a_column_that_no_model_takes_is_refused(values: list[Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        column(values)


def test_a_datetime_column_is_refused() -> None:
    frame = table()
    with pytest.raises(DataError, match="column 'c' is a time"):
        schema_of(frame.assign(c=pd.to_datetime(frame["time"])))


def test_roles_must_name_columns() -> None:
    with pytest.raises(DataError, match=r"\[data\] target = 'yy': no such column \(did you mean 'y'\?\)"):
        infer(table(yy_=1).rename(columns={"yy_": "z"}), target="yy", time="time")
    with pytest.raises(DataError, match=r"\[data\] time = 'tiem': no such column \(did you mean 'time'\?\)"):
        infer(table(), target="y", time="tiem")
    with pytest.raises(DataError, match="no input column besides 'y' and 'time'"):
        schema_of(table()[["time", "y"]])
    for name in ("prediction", "label", "probability"):
        with pytest.raises(DataError, match=f"column '{name}' has the name of an answer: rename it"):
            schema_of(table().assign(**{name: 1.5}))
    twice = table()
    with pytest.raises(DataError, match="column 'x' comes twice"):
        schema_of(pd.concat([twice, twice[["x"]]], axis=1))


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([0.5, 1.0], "regression", ()),
        (list(range(40)), "regression", ()),
        ([Decimal("0.5"), Decimal(1)], "regression", ()),
        ([1, 0], "classification", (0, 1)),
        ([1.0, 0.0], "classification", (0, 1)),
        ([2**53 + 1, 2**53], "classification", (2**53, 2**53 + 1)),
        ([True, False], "classification", (False, True)),
        (["yes", "no"], "classification", ("no", "yes")),
    ],
)
def test_the_target_decides_the_task(values: list[Any], task: Task, classes: tuple[Any, ...]) -> None:
    for dtype in (object, None):
        frame = table(y=pd.Series((values * 40)[:40], dtype=dtype))
        schema = schema_of(frame)
        assert (schema.task, schema.classes) == (task, classes)
        assert [type(c) for c in schema.classes] == [type(c) for c in classes]
        kept = conform(frame, schema)["y"].tolist()
        assert kept == [float(v) if task == "regression" else v for v in (values * 40)[:40]]


def test_whole_numbers_can_be_a_quantity_and_texts_classes() -> None:
    schema = schema_of(table(y=[0, 1] * 20), "regression")
    assert schema.target == Column("y", "float64", minimum=0.0, maximum=1.0)
    many = table(200, y=[f"c{i}" for i in range(200)])
    assert len(schema_of(many, "classification").classes) == 200


@pytest.mark.parametrize(
    ("values", "task", "told"),
    [
        ([1, None], None, r"column 'y' \(the target\) is missing in rows 2, 4, 6, 8, 10 ... \(20 in all\)"),
        ([0.5, 1], "classification", "task = 'classification', but the target holds fractions"),
        (["a", "b"], "regression", "column 'y' is text: set"),
        (["a"], None, "holds one class only, 'a'"),
        ([3], None, "holds one class only, 3"),
        ([True], None, "holds one class only, True"),
        ([pd.Timestamp(START)], None, "column 'y' is a time"),
        ([np.inf, 1.5], None, "column 'y' is not a number in rows 1, 3"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(values: list[Any], task: Task | None, told: str) -> None:
    with pytest.raises(DataError, match=told):
        schema_of(table(y=(values * 40)[:40]), task)


def test_numbers_with_a_stray_text_are_no_two_hundred_classes() -> None:
    frame = table(200, y=[*map(str, range(199)), "n/a"])
    with pytest.raises(DataError, match=r"\(the target\) holds 200 different texts, such as 'n/a': correct them, or"):
        schema_of(frame)


# Conforming


@pytest.fixture
def mixed() -> tuple[pd.DataFrame, Schema]:
    """A table with a column of each kind, and its schema."""
    frame = table(flag=[True, False] * 20, city=["Bonn", "Oslo", "Rome", None] * 10, y=["yes", "no"] * 20)
    return frame, schema_of(frame)


def test_rows_come_out_by_time_in_the_schemas_columns_with_their_index(mixed: tuple[pd.DataFrame, Schema]) -> None:
    frame, schema = mixed
    found = conform(frame.iloc[::-1].assign(extra=1), schema)
    assert list(found.columns) == ["time", "x", "flag", "city", "y"]
    assert found.index.tolist() == list(range(40))
    assert_frame_equal(found, conform(frame, schema))


def test_a_missing_column_is_named_with_its_close_match(mixed: tuple[pd.DataFrame, Schema]) -> None:
    frame, schema = mixed
    with pytest.raises(DataError, match=r"^column 'city' is missing \(did you mean 'citty'\?\)$"):
        conform(frame.rename(columns={"city": "citty"}), schema)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("x", "lots", "column 'x' is not a number in row 3: 'lots'"),
        ("x", np.inf, "column 'x' is not a number in row 3: 'inf'"),
        ("x", pd.Timestamp(START), "column 'x' is not a number in row 3: '2024"),
        ("flag", "maybe", "column 'flag' is not true or false in row 3: 'maybe'"),
        ("flag", 2, "column 'flag' is not true or false in row 3: '2'"),
        ("flag", None, "column 'flag' is not true or false in row 3: it is missing"),
        ("flag", pd.NA, "column 'flag' is not true or false in row 3: it is missing"),
        ("time", "yesterday", "column 'time' is no time in row 3: 'yesterday'"),
        ("time", "01/02/2024", "column 'time' is no time in row 3: '01/02/2024'"),
        ("time", None, "column 'time' is no time in row 3: it is missing"),
        ("y", None, r"column 'y' \(the target\) is missing in row 3"),
        ("y", "perhaps", "column 'y' holds the unknown class 'perhaps' in row 3"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(
    mixed: tuple[pd.DataFrame, Schema], name: str, value: Any, told: str
) -> None:
    frame, schema = mixed
    frame[name] = frame[name].astype(object)
    frame.loc[2, name] = value
    with pytest.raises(DataError, match=f"^{told}") as caught:
        conform(frame, schema)
    assert "\n" not in str(caught.value)


def test_a_fraction_is_no_class() -> None:
    schema = schema_of(table(y=[0, 1] * 20))
    with pytest.raises(DataError, match=r"unknown class '0\.5' in row 2"):
        conform(table(y=[0, 0.5] + [1] * 38), schema)


def test_seconds_are_times_and_milliseconds_are_not(mixed: tuple[pd.DataFrame, Schema]) -> None:
    frame, schema = mixed
    seconds = event_times(conform(frame, schema), "time")
    assert seconds[0] == pd.Timestamp(START).timestamp()
    assert_frame_equal(conform(frame.assign(time=seconds), schema), conform(frame, schema))
    with pytest.raises(DataError, match="column 'time' is no time in rows 1, 2, 3, 4, 5"):
        conform(frame.assign(time=seconds * 1000), schema)
    with pytest.raises(DataError, match="column 'time' is no time in row 1: it is missing"):
        conform(frame.assign(time=[np.nan, *seconds[1:]]), schema)


def test_every_way_to_keep_a_time_gives_the_same_times(mixed: tuple[pd.DataFrame, Schema]) -> None:
    frame, schema = mixed
    wanted = conform(frame, schema)
    stamps = pd.to_datetime(frame["time"])
    for unit in ("s", "ms", "us", "ns"):
        assert_frame_equal(conform(frame.assign(time=stamps.dt.as_unit(unit)), schema), wanted)
    assert_frame_equal(conform(frame.assign(time=stamps.dt.tz_localize(None)), schema), wanted)
    assert_frame_equal(conform(frame.assign(time=stamps.dt.tz_convert("Asia/Tokyo")), schema), wanted)
    assert_frame_equal(conform(frame.assign(time=stamps.astype(object)), schema), wanted)


@given(st.floats(0, 4e9))
@settings(max_examples=50)
def test_a_time_survives_the_way_to_seconds_and_back_to_the_microsecond(time: float) -> None:
    schema = Schema((Column("x", "float64"),), Column("y", "float64"), "time", "regression")
    frame = pd.DataFrame({"time": [round(time, 6)], "x": [1.0], "y": [1.0]})
    assert event_times(conform(frame, schema), "time").tolist() == [round(time, 6)]


def test_categories_that_a_later_file_has_as_numbers_are_the_same_text() -> None:
    first = table(zip=pd.Series(["7", "8", "A1", None] * 10, dtype=object))
    schema = schema_of(first)
    later = conform(table(zip=[7.0, 8.0, np.nan, 7.0] * 10), schema)
    assert later["zip"].tolist() == ["7", "8", "", "7"] * 10
    assert conform(table(zip=[7, 8] * 20), schema)["zip"].tolist() == ["7", "8"] * 20


def test_a_schema_survives_json(mixed: tuple[pd.DataFrame, Schema]) -> None:
    for schema in (mixed[1], schema_of(table(y=[True, False] * 20)), schema_of(table(y=[0, 1] * 20))):
        again = msgspec.json.decode(msgspec.json.encode(schema), type=Schema)
        assert again == schema
        assert [type(c) for c in again.classes] == [type(c) for c in schema.classes]


def test_no_rows_conform_to_no_rows(mixed: tuple[pd.DataFrame, Schema]) -> None:
    frame, schema = mixed
    assert len(conform(frame.iloc[:0], schema)) == 0


NUMBERS = st.one_of(st.none(), st.integers(-(2**60), 2**60), st.floats(allow_nan=True, allow_infinity=False))
TEXTS = st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["NA", "nan", "None", "1", "1.0"]))
TARGETS = st.sampled_from(["yes", "no"])


@given(st.lists(st.tuples(st.integers(0, 2**31), NUMBERS, st.booleans(), TEXTS, TARGETS), min_size=1, max_size=20))
@settings(max_examples=100)
def test_what_conforms_stays_as_it_is(rows: list[tuple[Any, ...]]) -> None:
    columns = (Column("x", "float64"), Column("flag", "bool"), Column("text", "string", "text"))
    target = Column("y", "string", "categorical", categories=("no", "yes"))
    schema = Schema(columns, target, "time", "classification", ("no", "yes"))
    frame = pd.DataFrame(rows, columns=["time", "x", "flag", "text", "y"]).astype({"text": object})
    frame.index = pd.Index(range(100, 100 + len(rows)))
    once = conform(frame, schema)
    assert_frame_equal(conform(once, schema), once)
    assert sorted(once.index) == frame.index.tolist()
    assert once["text"].tolist() == ["" if pd.isna(v) else v for v in frame["text"].loc[once.index]]
    assert once["y"].tolist() == frame["y"].loc[once.index].tolist()


# Labels


@pytest.mark.parametrize(
    ("classes", "dtype", "value", "wanted"),
    [
        ((0, 1), "int64", 1, 1),
        ((0, 1), "int64", 1.0, 1),
        ((0, 1), "int64", True, 1),
        ((0, 1), "int64", "1", 1),
        ((0, 1), "int64", 0.5, None),
        ((0, 1), "int64", "yes", None),
        ((False, True), "bool", False, False),
        ((False, True), "bool", 0, False),
        ((False, True), "bool", "true", True),
        ((False, True), "bool", "False", False),
        ((False, True), "bool", "maybe", None),
        (("1", "2"), "string", 1, "1"),
        (("1", "2"), "string", 2.0, "2"),
        (("A", "a"), "string", "a", "a"),
        (("A", "a"), "string", "A", "A"),
        (("no", "yes"), "string", "Yes", None),
        ((2**53, 2**53 + 1), "int64", 2**53 + 1, 2**53 + 1),
    ],
)
def test_a_class_may_be_sent_as_its_text(classes: tuple[Any, ...], dtype: Any, value: Any, wanted: Any) -> None:
    schema = Schema((), Column("y", dtype, categories=classes), "time", "classification", classes)
    found = label(value, schema)
    assert (found, type(found)) == (wanted, type(wanted))


def test_a_quantity_is_a_finite_number() -> None:
    schema = Schema((), Column("y", "float64"), "time", "regression")
    assert [label(v, schema) for v in (1, 2.5, True, "3", float("nan"))] == [1.0, 2.5, None, None, None]


def test_without_a_time_the_order_of_the_rows_is_the_order_of_time() -> None:
    frame, time = timed(table().drop(columns="time"), None)
    rows = conform(frame, infer(frame, target="y", time=time))
    assert np.diff(event_times(rows, time)).tolist() == [60.0] * (len(rows) - 1)
    assert timed(table(), "time")[1] == "time"


@pytest.mark.parametrize("times", [["2024-01-01T00:00:00Z"] * 40, pd.to_datetime(["2024-01-01"] * 40)])
def test_a_column_that_looks_like_a_time_must_be_named_or_dropped(times: Any) -> None:
    with pytest.raises(DataError, match=r"column 'when' looks like the time of a row: name it as \[data\] time"):
        timed(pd.DataFrame({"x": range(40), "when": times}), None)
    with pytest.raises(DataError, match="column 'row_time' has the name that rows without a time get"):
        timed(pd.DataFrame({"row_time": range(40)}), None)


def test_rows_are_counted_as_they_stood_before_the_features_function() -> None:
    frame = table()
    schema = infer(frame, target="y", time="time")
    dropped = frame.assign(x=[1.0] * 39 + ["much"])[20:]  # the index is kept
    with pytest.raises(DataError, match="'x' is not a number in row 40: 'much'"):
        conform(dropped, schema)
