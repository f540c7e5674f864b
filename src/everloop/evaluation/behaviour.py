"""How a model answers rows made from known ones: odd values give numbers, changes move answers as declared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from everloop.errors import RequestError, SettingsError, close_match
from everloop.settings import Expectation
from everloop.types import Column

__all__ = ["KINDS", "Answer", "Met", "Odd", "met", "odd_answers", "words_of"]

Arrays = Mapping[str, NDArray[Any]]
Answer = Callable[[Arrays], NDArray[np.float64]]
"""Values of shape (rows,), or probabilities of shape (rows, classes); raises `RequestError` for rows it refuses."""
KINDS = ("zeros", "missing values", "extreme values")
BEYOND = 10.0
"""Extreme numbers lie so many times a column's range beyond both ends of it."""
LONG_TEXT = "\u00e9\u4e2d\U0001f600 " * 2500


class Odd(NamedTuple):
    """How many rows of odd values were answered and refused, how many answers are no numbers, and which came first."""

    answered: int
    refused: int
    wrong: int
    first: str


class Met(NamedTuple):
    """The share of rows that did as expected, how far answers moved on average, and what went wrong first."""

    share: float
    moved: float
    first: str


def odd_answers(kind: str, inputs: Sequence[Column], arrays: Arrays, answer: Answer) -> Odd:
    """Return what comes of rows with values of a kind: in one column after another, then in all of them."""
    answered, refused, wrong, first = 0, 0, 0, ""
    rows = len(next(iter(arrays.values())))
    for what, changed in _odd_rows(kind, inputs, arrays):
        try:
            found = answer(changed)
        except RequestError:
            refused += rows
            continue
        answered += rows
        bad = ~np.isfinite(found.reshape(rows, -1)).all(axis=1)
        wrong += int(bad.sum())
        if bad.any():
            first = first or f"{what}: the answer is {found[bad][0]}"
    return Odd(answered, refused, wrong, first)


def met(
    expectation: Expectation, inputs: Sequence[Column], classes: Sequence[Any], arrays: Arrays, answer: Answer
) -> Met:
    """Return how answers move when a column is changed; raises `SettingsError` for what is declared wrongly."""
    column = _column(expectation, inputs)
    place = _place(expectation, classes)
    rows = len(arrays[column.name])
    changed = _changed(expectation, column, arrays[column.name])
    before = answer(arrays).reshape(rows, -1)[:, place]
    moved = answer({**arrays, column.name: changed}).reshape(rows, -1)[:, place] - before
    signed = {"same": -np.abs(moved), "up": moved, "down": -moved}[expectation.expect]
    fine = signed >= -expectation.tolerance  # what is no number is not
    mean = float(moved.mean())
    if fine.all():
        return Met(1.0, mean, "")
    row = int(np.argmin(np.where(np.isnan(signed), -np.inf, signed)))
    values = f"{_shown(arrays[column.name][row])} becomes {_shown(changed[row])}"
    told = f"{values}: {before[row]:.4g} moves by {moved[row]:+.4g}"
    return Met(float(fine.mean()), mean, told)


def words_of(expectation: Expectation) -> str:
    """Return an expectation as the name of a check."""
    return f"{expectation.column} {expectation.change}: {expectation.expect}"


def _odd_rows(kind: str, inputs: Sequence[Column], arrays: Arrays) -> Iterator[tuple[str, Arrays]]:
    low: dict[str, NDArray[Any]] = {}
    high: dict[str, NDArray[Any]] = {}
    for column in inputs:
        values = arrays[column.name]
        found = _odd_values(kind, column, values)
        for side, value in zip((low, high), found, strict=False):
            side[column.name] = np.full_like(values, value)
            yield f"{column.name} = {_shown(value)}", {**arrays, column.name: side[column.name]}
    for side in (low, high):
        if len(side) > 1:
            yield f"all of {', '.join(list(side)[:5])} together", {**arrays, **side}


def _odd_values(kind: str, column: Column, values: NDArray[Any]) -> tuple[Any, ...]:
    """Return the odd values of a column; none where it cannot be sent so."""
    texts = column.dtype == "string"
    if kind == "zeros":
        return ("" if texts else 0,)
    if kind == "missing values":
        return {"float64": (np.nan,), "string": ("",)}.get(column.dtype, ())
    if texts:
        return ("never seen", LONG_TEXT)
    if column.dtype in ("bool", "uint8"):
        return (1 if column.dtype == "bool" else 255,)
    numbers = values.astype(np.float64)
    least = column.minimum if column.minimum is not None else float(np.nan_to_num(np.nanmin(numbers)))
    most = column.maximum if column.maximum is not None else float(np.nan_to_num(np.nanmax(numbers)))
    far = BEYOND * ((most - least) or 1.0)
    return (least - far, most + far)


def _column(expectation: Expectation, inputs: Sequence[Column]) -> Column:
    known = {c.name: c for c in inputs}
    column = known.get(expectation.column)
    if column is None:
        told = f"{expectation.column!r} is no input{close_match(expectation.column, known)}"
        raise SettingsError(f"[tests.expectations] column = {expectation.column!r}: {told}")
    if column.prepare is not None:
        raise SettingsError(f"[tests.expectations] column = {column.name!r}: {column.kind}s cannot be changed so")
    return column


def _place(expectation: Expectation, classes: Sequence[Any]) -> int:
    if not classes:
        return 0
    if expectation.label is None:
        return len(classes) - 1
    known = [str(c) for c in classes]
    if str(expectation.label) not in known:
        told = f"{expectation.label!r} is no class{close_match(str(expectation.label), known)}"
        raise SettingsError(f"[tests.expectations] label = {expectation.label!r}: {told}")
    return known.index(str(expectation.label))


def _changed(expectation: Expectation, column: Column, values: NDArray[Any]) -> NDArray[Any]:
    change = expectation.change
    if change.startswith("="):
        value = change.removeprefix("=").strip()
        return np.full_like(values, value if column.dtype == "string" else _number(expectation, value))
    if column.dtype == "string":
        return np.array([_text(expectation, str(value)) for value in values], dtype=object)
    if (told := re.fullmatch(r"\s*([+\-*])\s*(\S+)\s*", change)) is None or column.dtype == "bool":
        raise SettingsError(_form(expectation, "'+2', '-2', '*1.1' or '=3'" if column.dtype != "bool" else "'=1'"))
    number = _number(expectation, told[2])
    moved = {"+": np.add, "-": np.subtract, "*": np.multiply}[told[1]](values, number)
    return np.asarray(np.round(moved) if column.dtype == "int64" else moved, dtype=values.dtype)


def _text(expectation: Expectation, value: str) -> str:
    if expectation.change in ("upper", "lower"):
        return value.upper() if expectation.change == "upper" else value.lower()
    if expectation.change.startswith("+"):
        return value + expectation.change[1:]
    raise SettingsError(_form(expectation, "'=other', '+ more words', 'upper' or 'lower'"))


def _number(expectation: Expectation, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(_form(expectation, "a number, such as '+2' or '=3'")) from None


def _form(expectation: Expectation, wanted: str) -> str:
    return f"[tests.expectations] change = {expectation.change!r} of column {expectation.column!r}: write {wanted}"


def _shown(value: Any) -> str:
    return repr(value[:40]) if isinstance(value, str) else f"{float(value):.4g}"
