"""The schema of a training table: inferred once, frozen with the model, and what every later row must conform to."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from functools import partial
from numbers import Number
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.errors import DataError, RequestError, close_match
from everloop.inference.media import arrays_of
from everloop.types import Column, Task

__all__ = ["ORDER", "Schema", "conform", "event_times", "infer", "label", "misfits", "refuse_no_values", "timed"]

ORDER = "row_time"
"""The time column of a table that has none: rows a minute apart from 2000-01-01 on, in their order."""

CLASSES, CATEGORIES, CATEGORY_SHARE = 20, 100, 0.2
EPOCH = 946684800.0  # 2000-01-01
LATEST = 253402300800.0  # the year 10000: milliseconds taken for seconds lie far behind it
Kind = Literal["bool", "number", "text"]
_OUTPUTS = frozenset(("prediction", "label", "probability"))  # of a model, beside which its inputs have no place
_TIMES = (date, timedelta, np.datetime64, np.timedelta64)
_NO_VALUES = (list, dict, set, tuple, np.ndarray, bytes)  # what no table of numbers and texts holds
_CLASS_DTYPES: dict[Kind, Literal["bool", "int64", "string"]] = {"bool": "bool", "number": "int64", "text": "string"}


class Schema(msgspec.Struct, frozen=True):
    """The columns a model takes, its target, the column of event time, the task, and the classes it tells apart."""

    inputs: tuple[Column, ...]
    target: Column
    time: str
    task: Task
    classes: tuple[str | int | bool, ...] = ()

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.inputs]


def infer(
    frame: pd.DataFrame,
    *,
    target: str,
    time: str,
    task: Task | None = None,
    media: Mapping[str, Column] = {},
    rows: int | None = None,
) -> Schema:
    """Return the schema that a table shows; raises `DataError` naming what cannot be used.

    Numbers become float64, and so do booleans of which some are missing; other booleans stay bool. Text
    becomes a categorical string where it repeats (at most 100 values, in less than a fifth of the rows),
    else text; a missing text is the empty one. Without `task`, a target of text, booleans or at most 20
    whole numbers is a class. `media` are columns of images and videos, which nobody could tell from texts. Of a
    table of so many `rows` its `Witnesses` show the same.
    """
    known = [str(c) for c in frame.columns]
    for name, role in ((target, "target"), (time, "time")):
        if name not in frame.columns:
            raise DataError(f"[data] {role} = {name!r}: no such column{close_match(name, known)}")
    if twice := [name for name in known if known.count(name) > 1]:
        raise DataError(f"column {twice[0]!r} comes twice: the features function must give each its own name")
    if lacking := [name for name in media if name not in frame.columns]:
        raise DataError(f"[data.columns.{lacking[0]}] there is no such column{close_match(lacking[0], known)}")
    inputs = tuple(
        media[name] if name in media else _column(frame[name], str(name), rows or len(frame))
        for name in frame.columns
        if name not in (target, time)
    )
    if taken := _OUTPUTS.intersection(c.name for c in inputs):
        raise DataError(f"column {min(taken)!r} has the name of an answer: rename it in the features function")
    if not inputs:
        raise DataError(f"no input column besides {target!r} and {time!r}")
    answers = frame[target]
    if answers.isna().any():
        raise DataError(f"column {target!r} (the target) is missing in {_rows(answers.isna())}")
    kind = _kind(answers, target)
    task = task or _task(answers, target, kind)
    if task == "classification":
        classes = _classes(answers, target, kind)
        return Schema(
            inputs, Column(target, _CLASS_DTYPES[kind], "categorical", categories=classes), time, task, classes
        )
    if kind == "text":
        raise DataError(f"column {target!r} is text: set [data] task = 'classification'")
    return Schema(inputs, _column(_numbers(answers, target), target, len(answers)), time, task)


def conform(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the rows as the schema has them, sorted by time; raises `DataError` naming column, reason and rows.

    Missing numbers and unseen categories are left to the model; a missing column, text where a number
    belongs, an unknown class and a missing or unreadable time are not. A file's rows and the same rows out
    of the journal give the same table: times to the microsecond, missing text as the empty one.
    """
    wanted = [schema.time, *schema.names, schema.target.name]
    if missing := [name for name in wanted if name not in frame.columns]:
        known = [str(c) for c in frame.columns]
        raise DataError(f"column {missing[0]!r} is missing{close_match(missing[0], known)}")
    table = {name: read() for name, read in _readings(frame, schema)}
    result = pd.DataFrame(table, index=frame.index)
    ordered = result[schema.time].is_monotonic_increasing
    return result if ordered else result.sort_values(schema.time, kind="stable")


def misfits(frame: pd.DataFrame, schema: Schema) -> list[DataError]:
    """Return what `conform` would refuse, an error a column with the places of its rows; every column must be there."""
    found = []
    for _, read in _readings(frame, schema):
        try:
            read()
        except DataError as error:
            found.append(error)
    return found


def _readings(frame: pd.DataFrame, schema: Schema) -> Iterator[tuple[str, Callable[[], pd.Series[Any]]]]:
    """Give each column of the table with what reads it."""
    yield schema.time, partial(_times, frame[schema.time], schema.time)
    for column in schema.inputs:
        yield column.name, partial(_coerce, frame[column.name], column)
    yield schema.target.name, partial(_targets, frame[schema.target.name], schema)


def timed(frame: pd.DataFrame, time: str | None, before: int = 0) -> tuple[pd.DataFrame, str]:
    """Return a table and its time column's name; without one, the order of the rows becomes a column of times.

    `before` is how many rows came in earlier parts.
    """
    if time is not None:
        return frame, time
    if ORDER in frame.columns:
        raise DataError(
            f"column {ORDER!r} has the name that rows without a time get: name it as [data] time, or rename it"
        )
    if likely := next((name for name in frame.columns if _looks_like_time(frame[name])), None):
        raise DataError(f"column {likely!r} looks like the time of a row: name it as [data] time, or drop it")
    return frame.assign(**{ORDER: EPOCH + (before + np.arange(len(frame))) * 60.0}), ORDER


def event_times(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a time column as seconds since 1970."""
    stamps = frame[column].dt.as_unit("us").astype("int64").to_numpy()
    times: NDArray[np.float64] = stamps / 1e6  # as exact as a float is; nanoseconds would be rounded twice
    return times


def label(value: Any, schema: Schema) -> str | int | bool | float | None:
    """Return an observed value as the target holds it; None for what is no number, or none of the classes.

    A class may be sent as itself or as its text: `1`, `1.0`, `true` and `"1"` all are the class 1.
    """
    if schema.task == "regression":
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if usable else None
    if value in schema.classes:
        return schema.classes[schema.classes.index(value)]
    text = _text(value).capitalize() if schema.target.dtype == "bool" else _text(value)
    return next((known for known in schema.classes if str(known) == text), None)


def _column(values: pd.Series[Any], name: str, rows: int) -> Column:
    if values.isna().all():
        raise DataError(f"column {name!r} holds no value: drop it in the features function")
    kind = _kind(values, name)
    if kind == "bool" and not values.isna().any():
        return Column(name, "bool")
    if kind != "text":
        numbers = _numbers(values, name)
        return Column(name, "float64", minimum=float(numbers.min()), maximum=float(numbers.max()))
    distinct = sorted({_text(v) for v in values.unique()})
    if len(distinct) <= CATEGORIES and len(distinct) < max(2, CATEGORY_SHARE * rows):
        return Column(name, "string", "categorical", categories=tuple(distinct))
    return Column(name, "string", "text")


def _kind(values: pd.Series[Any], name: str) -> Kind:
    """Return what a column's values are, whatever pandas keeps them in."""
    types: set[type] = {values.dtype.type}
    if values.dtype == object:
        types = {type(v) for v in values[values.notna()]}
    elif isinstance(values.dtype, pd.CategoricalDtype):
        return "text"
    if any(issubclass(t, _TIMES) for t in types):
        raise DataError(f"column {name!r} is a time: only [data] time may be one; derive numbers from it")
    if wrong := [t.__name__ for t in types if issubclass(t, (*_NO_VALUES, complex))]:
        told = "turn it into numbers or text in the features function"
        if wrong[0] in ("bytes", "ndarray"):
            told += f", or declare images or videos as [data.columns.{name}]"
        raise DataError(f"column {name!r} holds a {wrong[0]}: {told}")
    if all(issubclass(t, bool | np.bool_) for t in types):
        return "bool"
    return "number" if all(issubclass(t, Number | np.bool_) for t in types) else "text"


def _task(answers: pd.Series[Any], name: str, kind: Kind) -> Task:
    if kind == "number":
        numbers = _numbers(answers, name)
        return (
            "classification"
            if bool((numbers == numbers.round()).all()) and numbers.nunique() <= CLASSES
            else "regression"
        )
    if kind == "text" and answers.nunique() > CATEGORIES:
        raise DataError(
            f"column {name!r} (the target) holds {answers.nunique()} different texts, such as "
            f"{str(answers.max())[:40]!r}: correct them, or set [data] task = 'classification'"
        )
    return "classification"


def _classes(answers: pd.Series[Any], name: str, kind: Kind) -> tuple[str | int | bool, ...]:
    if kind == "bool":
        found: set[Any] = {bool(v) for v in answers.unique()}
    elif kind == "text":
        found = {_text(v) for v in answers.unique()}
    else:
        numbers = _numbers(answers, name)
        if not bool((numbers == numbers.round()).all()):
            raise DataError("[data] task = 'classification', but the target holds fractions")
        found = {int(v) for v in numbers.unique()}
    if len(found) < 2:
        raise DataError(
            f"column {name!r} (the target) holds one class only, {next(iter(found))!r}: there is nothing to tell apart"
        )
    return tuple(sorted(found))


def _coerce(values: pd.Series[Any], column: Column) -> pd.Series[Any]:
    if column.prepare is not None:
        return _media(values, column)
    if column.dtype == "string":
        if isinstance(values.dtype, pd.StringDtype):  # all are texts: nothing has to be asked of each
            return values.astype(object).where(values.notna(), "")
        refuse_no_values(values, column.name)
        return values.astype(object).map(_text).astype(object)
    if column.dtype == "float64":
        return _numbers(values, column.name).astype("float64")
    numbers: pd.Series[Any] = pd.to_numeric(values.astype(object), errors="coerce")
    wrong = ~numbers.isin((0, 1))
    if wrong.any():
        told = f"column {column.name!r} is not true or false in {_rows(wrong)}: {_example(values, wrong)}"
        raise DataError(told, _places(wrong))
    return numbers.astype(bool)


def _media(values: pd.Series[Any], column: Column) -> pd.Series[Any]:
    """Return images or videos as they are, once each of them was decoded."""
    wrong, told = np.zeros(len(values), np.bool_), ""
    for row, value in enumerate(values):
        try:
            arrays_of(column, [value])
        except RequestError as error:
            told = told or str(error).partition(", row 0: ")[2]
            wrong[row] = True
    if wrong.any():
        mask = pd.Series(wrong, index=values.index)
        raise DataError(f"column {column.name!r} holds no {column.kind} in {_rows(mask)}: {told}", _places(mask))
    return values.astype(object)


def _numbers(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Return finite numbers: whole ones keep every digit, missing ones are NaN."""
    plain = values if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf" else values.astype(object)
    numbers: pd.Series[Any] = pd.to_numeric(plain, errors="coerce")
    wrong = (numbers.isna() & values.notna()) | numbers.isin((np.inf, -np.inf))
    if wrong.any():
        told = f"column {name!r} is not a number in {_rows(wrong)}: {_example(values, wrong)}"
        raise DataError(told, _places(wrong))
    return numbers


def _text(value: Any) -> str:
    """Return the text of a category: nothing for a missing one, `7` for the 7.0 that a gap makes of 7."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return ""
    return str(int(value)) if isinstance(value, float | np.floating) and value.is_integer() else str(value)


def _times(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    if pd.api.types.is_numeric_dtype(values):
        seconds = pd.to_numeric(values, errors="coerce").astype("float64")
        readable = seconds.where(seconds.abs() < LATEST)
        times = pd.to_datetime((readable * 1e6).round(), unit="us", utc=True)
    else:
        form = None if pd.api.types.is_datetime64_any_dtype(values) else "ISO8601"
        times = pd.to_datetime(values, utc=True, errors="coerce", format=form)
    if (wrong := times.isna()).any():
        raise DataError(f"column {name!r} is no time in {_rows(wrong)}: {_example(values, wrong)}", _places(wrong))
    return times.dt.as_unit("us")


def _looks_like_time(values: pd.Series[Any]) -> bool:
    if pd.api.types.is_datetime64_any_dtype(values):
        return True
    texts = [v for v in values.iloc[:50] if isinstance(v, str)]
    dates = [bool(re.match(r"\d{4}-\d\d-\d\d", text)) for text in texts]
    return bool(dates) and all(dates)


def _targets(values: pd.Series[Any], schema: Schema) -> pd.Series[Any]:
    name = schema.target.name
    missing = values.isna()
    if missing.any():
        raise DataError(f"column {name!r} (the target) is missing in {_rows(missing)}", _places(missing))
    if schema.task == "regression":
        return _coerce(values, schema.target)
    refuse_no_values(values, name)
    known = {value: label(value, schema) for value in values.unique()}
    unknown = values.map(lambda v: known[v] is None)
    if unknown.any():
        told = f"holds the unknown class {_example(values, unknown)} in {_rows(unknown)}"
        raise DataError(f"column {name!r} {told}", _places(unknown))
    dtype: Any = {"bool": bool, "int64": "int64", "string": object}[schema.target.dtype]
    return values.astype(object).map(known).astype(dtype)


def refuse_no_values(values: pd.Series[Any], name: str) -> None:
    """Raise `DataError` for lists, bytes and the like, which no text stands for."""
    if values.dtype == object and any(issubclass(t, _NO_VALUES) for t in set(map(type, values))):
        wrong = values.map(lambda value: isinstance(value, _NO_VALUES))
        raise DataError(f"column {name!r} is no text in {_rows(wrong)}: {_example(values, wrong)}", _places(wrong))


def _example(values: pd.Series[Any], mask: pd.Series[bool]) -> str:
    present = values[mask].dropna()
    return repr(str(present.iloc[0])[:40]) if len(present) else "it is missing"


def _places(mask: pd.Series[bool]) -> list[int]:
    """Return where a mask is true, as positions in the table."""
    return np.flatnonzero(mask.to_numpy()).tolist()


def _rows(mask: pd.Series[bool]) -> str:
    """Return the numbers of rows, from 1, as they stood before the features function, where it keeps their index."""
    whole = pd.api.types.is_integer_dtype(mask.index)
    places = mask.index[mask] if whole else np.flatnonzero(mask.to_numpy())
    shown = ", ".join(str(int(p) + 1) for p in places[:5])
    return (
        f"row {shown}"
        if len(places) == 1
        else f"rows {shown}{' ...' if len(places) > 5 else ''} ({len(places)} in all)"
    )
