"""What makes a model look better than it will be: rows on both sides of the split, columns that know the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data.schema import Schema, event_times

__all__ = ["Leak", "leaks"]

ROWS = 50
"""Of fewer rows nothing is said."""
SAMPLE = 20_000
DOUBLES, ALONE = 0.01, 0.98
BINS = 100


class Leak(msgspec.Struct, frozen=True):
    """One suspicion: its kind, the column where it has one, what was measured against what bound, and a sentence."""

    kind: str
    column: str
    value: float
    bound: float
    told: str


def leaks(table: pd.DataFrame, schema: Schema, horizon: float) -> list[Leak]:
    """Return what a conforming table's newest `horizon` seconds, on which models are judged, might leak from."""
    if len(table) < ROWS:
        return []
    table = table.sort_values(schema.time, kind="stable")
    times = event_times(table, schema.time)
    start = max(float(times[-1]) - horizon, float(np.quantile(times, 0.5)))
    newest = times > start
    return [*_doubles(table, schema, newest), *_ids(table, schema), *_knowing(table, schema, newest)]


def _doubles(table: pd.DataFrame, schema: Schema, newest: NDArray[np.bool_]) -> Iterator[Leak]:
    """Tell of rows that are judged on though a fit saw them, equal in all inputs and the target."""
    if not newest.any() or newest.all():
        return
    hashes = pd.util.hash_pandas_object(table[[*schema.names, schema.target.name]], index=False).to_numpy()
    if len(np.unique(hashes)) < len(hashes) / 2:  # a table of few values: equal rows are no copies
        return
    share = float(np.isin(hashes[newest], hashes[~newest]).mean())
    if share > DOUBLES:
        told = f"{share:.1%} of the newest rows, which models are judged on, stand among the older ones too"
        yield Leak("duplicates", "", share, DOUBLES, f"{told}: drop the copies, or set [data.process] deduplicate")


def _ids(table: pd.DataFrame, schema: Schema) -> Iterator[Leak]:
    """Tell of inputs that name a row instead of describing it: whole numbers that count up, texts without a double."""
    for column in schema.inputs:
        values = table[column.name]
        if column.dtype == "float64":
            numbers = values.to_numpy(dtype=np.float64)
            steps = np.diff(numbers)
            single = np.isfinite(numbers).all() and len(np.unique(numbers)) > 0.9 * len(numbers)  # an hour comes again
            share = float((steps == 1).mean()) if single else 0.0
            bound, what = 0.9, "counts its rows"
        elif column.kind == "text":
            words = values.iloc[:SAMPLE]
            alone = ~words.astype(str).str.contains(r"\s", regex=True) & (words != "")
            share = float(words[alone].nunique() / len(words))
            bound, what = 0.95, "names its rows"
        else:
            continue
        if share > bound:
            told = f"column {column.name!r} {what} (like an id): a model learns the order of the rows from it; drop it"
            yield Leak("id", column.name, share, bound, told)


def _knowing(table: pd.DataFrame, schema: Schema, newest: NDArray[np.bool_]) -> Iterator[Leak]:
    """Tell of inputs of which one alone gives the target of rows that it was not fitted on."""
    old, new = _evenly(np.flatnonzero(~newest)), _evenly(np.flatnonzero(newest))
    if len(old) < ROWS or len(new) < 10:
        return
    truth = table[schema.target.name]
    answers = [truth.iloc[place].to_numpy() for place in (old, new)]
    for column in schema.inputs:
        values = table[column.name]
        share = _explained(values.iloc[old], answers[0], values.iloc[new], answers[1], schema.task == "regression")
        if share > ALONE:
            told = f"column {column.name!r} alone gives the target ({share:.1%} of what there is to explain)"
            yield Leak("target", column.name, share, ALONE, f"{told}: is it known when a prediction is asked for?")


def _evenly(places: NDArray[np.intp]) -> NDArray[np.intp]:
    return places if len(places) <= SAMPLE else places[np.linspace(0, len(places) - 1, SAMPLE).astype(int)]


def _explained(
    old: pd.Series[Any], old_truth: NDArray[Any], new: pd.Series[Any], truth: NDArray[Any], number: bool
) -> float:
    """Return the share of new answers that the mean, or the commonest class, of old rows in the same bin explains."""
    a, b = _binned(old, new)
    if number:
        y, z = old_truth.astype(np.float64), truth.astype(np.float64)
        guess = pd.Series(y).groupby(a).mean().reindex(b).fillna(float(y.mean())).to_numpy()
        spread = float(((z - y.mean()) ** 2).sum())
        return 1 - float(((z - guess) ** 2).sum()) / spread if spread > 0 else 0.0
    classes = old_truth.astype(str)
    common = str(pd.Series(classes).mode().iloc[0])
    told = pd.crosstab(a, classes).idxmax(axis=1).reindex(b).fillna(common).to_numpy()
    right, base = float((told == truth.astype(str)).mean()), float((truth.astype(str) == common).mean())
    return (right - base) / (1 - base) if base < 1 else 0.0


def _binned(old: pd.Series[Any], new: pd.Series[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if not pd.api.types.is_numeric_dtype(old) or pd.api.types.is_bool_dtype(old):
        return old.astype(str).to_numpy(), new.astype(str).to_numpy()
    numbers = old.to_numpy(dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.zeros(1)
    return np.searchsorted(edges, numbers), np.searchsorted(edges, new.to_numpy(dtype=np.float64))
