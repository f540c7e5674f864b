"""What is done to a file's rows before anything else sees them: types, doubles, and what tells who a person is.

All but `deduplicate` changes each row by itself, and what is done twice stays as done once: so one row that is sent to
a server and a file of a million become the same, and so do rows that come back out of the journal.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.errors import DataError, SettingsError, close_match
from everloop.settings import Process

__all__ = ["OTHER", "by_row", "process", "singles"]

OTHER = "other"
DIGEST = 16
"""Hexadecimal digits of a keyed digest: two of a billion values collide with a chance of 3 %."""
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def process(
    rows: pd.DataFrame,
    told: Process,
    time: str | None,
    environment: Mapping[str, str],
    single: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Return rows of files as `[data.process]` says; what it does not name stays as it is, the index too.

    `single` are the `singles` of a table that these rows are a part of. Raises `DataError` for a column that is not
    there or a value that has no such type, `SettingsError` without the key.
    """
    _check_columns(rows, told)
    found = _typed(rows, told)
    kept = single[rows.index.to_numpy()] if single is not None else singles([rows], told, time)
    return _less_telling(found if kept is None else found[kept], told, environment)


def singles(parts: Iterable[pd.DataFrame], told: Process, time: str | None) -> NDArray[np.bool_] | None:
    """Return which rows of a table in parts stay where doubles go, in their order; None where all stay.

    Of equal rows the first stays, of rows that are equal in some columns the newest. They are told apart by 64 bits of
    what they hold; 16 bytes a row are kept.
    """
    if told.deduplicate == "off":
        return None
    hashes, times = list[NDArray[np.uint64]](), list[NDArray[np.float64]]()
    for part in parts:
        _check_columns(part, told)
        rows = _typed(part, told)
        same = rows if told.deduplicate == "rows" else rows[list(told.deduplicate)]
        hashes.append(pd.util.hash_pandas_object(same, index=False).to_numpy().astype(np.uint64))
        if told.deduplicate != "rows" and time in rows.columns:
            times.append(_moments(rows[time]))
    held = pd.Series(np.concatenate(hashes))
    if told.deduplicate == "rows":
        return ~held.duplicated().to_numpy()
    order = np.argsort(np.concatenate(times), kind="stable") if times else np.arange(len(held))
    single = np.empty(len(held), np.bool_)
    single[order] = ~held.iloc[order].duplicated(keep="last").to_numpy()
    return single


def _moments(values: pd.Series[Any]) -> NDArray[np.float64]:
    """Return times as numbers that have their order; a missing one is before all."""
    if not pd.api.types.is_numeric_dtype(values):
        stamps = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")
        values = stamps.astype("int64").where(stamps.notna())
    return values.fillna(-np.inf).to_numpy(np.float64)


def by_row(rows: pd.DataFrame, told: Process, environment: Mapping[str, str]) -> pd.DataFrame:
    """Return rows that are to be answered, or were, as `process` makes those of files: all stay, columns may lack."""
    return _less_telling(_typed(rows, told), told, environment)


def _typed(rows: pd.DataFrame, told: Process) -> pd.DataFrame:
    found = rows.copy(deep=False)
    for name, kind in told.coerce.items():
        if name in found:
            found[name] = _COERCED[kind](found[name], name)
    return found


def _less_telling(found: pd.DataFrame, told: Process, environment: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows with digests and coarser values, and without the columns to drop."""
    found = found.copy(deep=False)
    if hashed := [name for name in told.hash if name in found]:
        key = environment.get(told.secret, "")
        if not key:
            raise SettingsError(f"[data.process] hash needs its key: set the environment variable {told.secret}")
        for name in hashed:
            found[name] = _each(found[name], partial(_digest, key=key))
    for name, edges in told.bins.items():
        if name in found:
            found[name] = _binned(_COERCED["number"](found[name], name), edges)
    for name, length in told.prefix.items():
        if name in found:
            found[name] = _each(found[name], partial(_shortened, length=length))
    for name, kept in told.keep.items():
        if name in found:
            found[name] = _each(found[name], partial(_known, kept=frozenset(kept)))
    return found.drop(columns=[name for name in told.drop if name in found])


def _check_columns(rows: pd.DataFrame, told: Process) -> None:
    known = [str(c) for c in rows.columns]
    keys = told.deduplicate if isinstance(told.deduplicate, tuple) else ()
    for name in (*told.coerce, *keys, *told.hash, *told.bins, *told.prefix, *told.keep, *told.drop):
        if name not in rows.columns:
            raise DataError(f"[data.process] names column {name!r}, which is not there{close_match(name, known)}")


def _digest(value: str, key: str) -> str:
    if re.fullmatch(rf"h:[0-9a-f]{{{DIGEST}}}", value):
        return value
    return "h:" + hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()[:DIGEST]


def _shortened(value: str, length: int) -> str:
    return value[:length]


def _known(value: str, kept: frozenset[str]) -> str:
    return value if value in kept else OTHER


def _binned(values: pd.Series[Any], edges: tuple[float, ...]) -> pd.Series[Any]:
    """Return the lower edge of each value's bin; below the first edge the first."""
    place = np.clip(np.searchsorted(edges, values.to_numpy(), "right") - 1, 0, None)
    return pd.Series(np.where(values.isna(), np.nan, np.asarray(edges)[place]), index=values.index)


def _each(values: pd.Series[Any], change: Callable[[str], str]) -> pd.Series[Any]:
    """Return the texts of values, changed; a missing one stays missing."""
    known = {value: change(_written(value)) for value in values.dropna().unique()}
    return values.astype(object).map(known)


def _written(value: Any) -> str:
    """Return a value's text: 7 for the 7.0 that a gap makes of 7."""
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def _number(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    found: pd.Series[Any] = pd.to_numeric(values, errors="coerce")
    return _refuse(found, values, name, "number")


def _bool(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    found = values.map(lambda value: value if pd.isna(value) else _BOOLS.get(_written(value).lower()))
    return _refuse(found, values, name, "true or false")


def _time(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    found = pd.to_datetime(values, utc=True, errors="coerce", format="mixed")
    return _refuse(found, values, name, "time")


def _refuse(found: pd.Series[Any], values: pd.Series[Any], name: str, kind: str) -> pd.Series[Any]:
    wrong = (found.isna() & values.notna()).to_numpy()
    if wrong.any():
        rows, example = values.index.to_numpy()[wrong], str(values[wrong].iloc[0])[:40]
        told = f"[data.process] coerce: column {name!r} is no {kind} in row {rows[0] + 1}: {example!r}"
        raise DataError(told, rows.tolist())
    return found


_COERCED: dict[str, Callable[[pd.Series[Any], str], pd.Series[Any]]] = {
    "number": _number,
    "text": lambda values, _name: _each(values, lambda value: value),
    "bool": _bool,
    "time": _time,
}
