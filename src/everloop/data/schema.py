"""The schema of a training table: inferred once, frozen with the model, and what every later row must conform to."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.errors import DataError, close_match
from everloop.types import Column, Task

__all__ = ["Schema", "conform", "event_times", "infer"]

CLASSES, CATEGORIES, CATEGORY_SHARE = 20, 100, 0.2


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


def infer(frame: pd.DataFrame, *, target: str, time: str, task: Task | None = None) -> Schema:
    """Return the schema that a table shows; raises `DataError` naming what cannot be used.

    Numbers become float64, booleans bool, text a categorical string where it repeats (at most 100
    values, in less than a fifth of the rows), else text. Without `task`, a target of text, booleans or
    at most 20 whole numbers is a class.
    """
    for name, role in ((target, "target"), (time, "time")):
        if name not in frame.columns:
            known = [str(c) for c in frame.columns]
            raise DataError(f"[data] {role} = {name!r}: no such column{close_match(name, known)}")
    inputs = tuple(_column(frame[name], str(name)) for name in frame.columns if name not in (target, time))
    if not inputs:
        raise DataError(f"no input column besides {target!r} and {time!r}")
    answers = frame[target]
    if answers.isna().any():
        raise DataError(f"column {target!r} (the target) is missing in {_rows(answers.isna())}")
    task = task or _task(answers)
    if task == "classification":
        classes = _classes(answers)
        kind = Column(target, _class_dtype(classes[0]), "categorical", categories=classes)
        return Schema(inputs, kind, time, task, classes)
    if not pd.api.types.is_numeric_dtype(answers):
        raise DataError(f"column {target!r} is text: set [data] task = 'classification'")
    return Schema(inputs, _column(answers.astype(float), target), time, task)


def conform(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the rows as the schema has them, sorted by time; raises `DataError` naming column, reason and rows.

    Missing numbers and unseen categories are left to the model; a missing column, text where a number
    belongs, an unknown class and a missing or unreadable time are not.
    """
    wanted = [schema.time, *schema.names, schema.target.name]
    if missing := [name for name in wanted if name not in frame.columns]:
        known = [str(c) for c in frame.columns]
        raise DataError(f"column {missing[0]!r} is missing{close_match(missing[0], known)}")
    table = {schema.time: _times(frame[schema.time], schema.time)}
    for column in (*schema.inputs, schema.target):
        table[column.name] = _coerce(frame[column.name], column)
    _check_target(table[schema.target.name], schema)
    result = pd.DataFrame(table, index=frame.index)
    return result.sort_values(schema.time, kind="stable")


def event_times(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a time column as seconds since 1970."""
    stamps = frame[column].dt.as_unit("ns").astype("int64").to_numpy()
    times: NDArray[np.float64] = stamps / 1e9
    return times


def _column(values: pd.Series[Any], name: str) -> Column:
    if values.isna().all():
        raise DataError(f"column {name!r} holds no value: drop it in the features function")
    if pd.api.types.is_bool_dtype(values):
        return Column(name, "bool")
    if pd.api.types.is_numeric_dtype(values):
        return Column(name, "float64", minimum=float(values.min()), maximum=float(values.max()))
    if pd.api.types.is_datetime64_any_dtype(values):
        raise DataError(f"column {name!r} is a time: only [data] time may be one; derive numbers from it")
    distinct = sorted({str(v) for v in values.dropna().unique()})
    if len(distinct) <= CATEGORIES and len(distinct) < max(2, CATEGORY_SHARE * len(values)):
        return Column(name, "string", "categorical", categories=tuple(distinct))
    return Column(name, "string", "text")


def _task(answers: pd.Series[Any]) -> Task:
    if pd.api.types.is_bool_dtype(answers) or not pd.api.types.is_numeric_dtype(answers):
        return "classification"
    whole = bool((answers == answers.round()).all())
    return "classification" if whole and answers.nunique() <= CLASSES else "regression"


def _classes(answers: pd.Series[Any]) -> tuple[str | int | bool, ...]:
    if pd.api.types.is_bool_dtype(answers):
        return (False, True)
    if pd.api.types.is_numeric_dtype(answers):
        if not bool((answers == answers.round()).all()):
            raise DataError("[data] task = 'classification', but the target holds fractions")
        return tuple(sorted(int(v) for v in answers.unique()))
    return tuple(sorted({str(v) for v in answers.unique()}))


def _class_dtype(example: str | int | bool) -> Any:
    return {bool: "bool", int: "int64", str: "string"}[type(example)]


def _coerce(values: pd.Series[Any], column: Column) -> pd.Series[Any]:
    if column.dtype == "string":
        return values.map(lambda v: "" if pd.isna(v) else str(v)).astype(object)
    if column.dtype == "bool":
        wrong = ~values.map(lambda v: isinstance(v, bool | np.bool_) or v in (0, 1))
        if wrong.any():
            raise DataError(f"column {column.name!r} is not true or false in {_rows(wrong)}")
        return values.astype(bool)
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() & values.notna()
    if wrong.any():
        example = str(values[wrong].iloc[0])[:40]
        raise DataError(f"column {column.name!r} is not a number in {_rows(wrong)}: {example!r}")
    return numbers.astype("int64" if column.dtype == "int64" and not numbers.isna().any() else "float64")


def _times(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    if pd.api.types.is_numeric_dtype(values):
        return pd.to_datetime(values, unit="s", utc=True)
    times = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601" if values.dtype == object else None)
    if times.isna().any():
        example = str(values[times.isna()].iloc[0])[:40]
        raise DataError(f"column {name!r} is no time in {_rows(times.isna())}: {example!r}")
    return times


def _check_target(values: pd.Series[Any], schema: Schema) -> None:
    missing = values.isna()
    if missing.any():
        raise DataError(f"column {schema.target.name!r} (the target) is missing in {_rows(missing)}")
    if schema.classes and (unknown := ~values.isin(schema.classes)).any():
        example = str(values[unknown].iloc[0])[:40]
        raise DataError(f"column {schema.target.name!r} holds the unknown class {example!r} in {_rows(unknown)}")


def _rows(mask: pd.Series[bool]) -> str:
    places = np.flatnonzero(mask.to_numpy())
    shown = ", ".join(str(int(p) + 1) for p in places[:5])
    return (
        f"row {shown}"
        if len(places) == 1
        else f"rows {shown}{' ...' if len(places) > 5 else ''} ({len(places)} in all)"
    )
