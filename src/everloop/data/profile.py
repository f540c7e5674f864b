"""What a table looks like: each column's values, what it has to do with the target, where rows lie in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.types import show_time

__all__ = ["Bar", "ColumnProfile", "Profile", "profile"]

SAMPLE = 100_000
"""Rows that relations are told from, evenly taken; columns are counted whole."""
BINS, TOP, PERIODS, WIDEST, PAIRED = 24, 12, 60, 40, 20_000
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
Progress = Callable[[int, int], None]


class Bar(msgspec.Struct, frozen=True):
    """One bar of a picture: where it stands, and how high."""

    name: str
    value: float
    rows: int = 0


class ColumnProfile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column: its values counted, and the target's mean, or share of its rarest class, by its values."""

    name: str
    type: str
    rows: int
    missing: int
    distinct: int
    mean: float | None = None
    deviation: float | None = None
    minimum: str = ""
    maximum: str = ""
    quantiles: dict[str, float] = {}
    outliers: int = 0
    """Values more than three quartile ranges beyond the quartiles."""
    bars: tuple[Bar, ...] = ()
    target: tuple[Bar, ...] = ()


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One table: its columns, how numbers go together, its rows over time, and its double rows."""

    name: str
    rows: int
    duplicates: int
    target: str
    shown: str
    """What the bars of `target` show: the mean, or the share of a class."""
    time: str
    columns: tuple[ColumnProfile, ...]
    numbers: tuple[str, ...] = ()
    correlations: tuple[tuple[float, ...], ...] = ()
    """Of the ranks of the first 40 columns of numbers, in the order of `numbers`."""
    coverage: tuple[Bar, ...] = ()
    start: str = ""
    end: str = ""
    longest_gap: float = 0.0
    """Between two rows, in seconds."""


def profile(
    table: pd.DataFrame, name: str, target: str, time: str, progress: Progress = lambda _done, _total: None
) -> Profile:
    """Return the profile of a table; `target` or `time` that it does not hold are left out."""
    sample = _evenly(table)
    truth, shown = _target(sample, target)
    columns = []
    for place, column in enumerate(table.columns):
        progress(place, len(table.columns) + 2)
        columns.append(_column(table[column], str(column), sample[column], truth if column != target else None))
    progress(len(table.columns), len(table.columns) + 2)
    numbers = [c.name for c in columns if c.type == "number" and c.distinct > 1][:WIDEST]
    when = _seconds(table[time]) if time in table.columns else np.zeros(0)
    doubles = _doubles(table)
    progress(len(table.columns) + 2, len(table.columns) + 2)
    return Profile(
        name=name,
        rows=len(table),
        duplicates=doubles,
        target=target if target in table.columns else "",
        shown=shown,
        time=time if len(when) else "",
        columns=tuple(columns),
        numbers=tuple(numbers),
        correlations=_correlations(sample[numbers].iloc[:: max(1, len(sample) // PAIRED)]) if len(numbers) > 1 else (),
        coverage=_coverage(when),
        start=show_time(float(when.min())) if len(when) else "",
        end=show_time(float(when.max())) if len(when) else "",
        longest_gap=float(np.diff(np.sort(when)).max()) if len(when) > 1 else 0.0,
    )


def _evenly(table: pd.DataFrame) -> pd.DataFrame:
    if len(table) <= SAMPLE:
        return table
    return table.iloc[np.linspace(0, len(table) - 1, SAMPLE).astype(int)]


def _target(sample: pd.DataFrame, target: str) -> tuple[NDArray[np.float64] | None, str]:
    """Return what is shown of the target by other columns: its number, or whether it is its rarest class."""
    if target not in sample.columns:
        return None, ""
    values = sample[target]
    if _type(values) == "number" and values.nunique() > 2:
        return values.to_numpy(dtype=np.float64), f"mean of {target}"
    counts = values.dropna().value_counts()
    if not len(counts):
        return None, ""
    return (values == counts.index[-1]).to_numpy(dtype=np.float64), f"share of {target} = {counts.index[-1]}"


def _type(values: pd.Series[Any]) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "bool"
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    return "time" if pd.api.types.is_datetime64_any_dtype(values) else "text"


def _column(
    values: pd.Series[Any], name: str, sample: pd.Series[Any], truth: NDArray[np.float64] | None
) -> ColumnProfile:
    kind = _type(values)
    if kind in ("number", "time"):
        return _of_numbers(values, name, kind, sample, truth)
    counts = values[values != ""].value_counts() if kind == "text" else values.value_counts()
    top = counts.iloc[:TOP]
    bars = [Bar(str(value)[:60], float(count)) for value, count in top.items()]
    if (rest := int(counts.iloc[TOP:].sum())) > 0:
        bars.append(Bar(f"{len(counts) - TOP:,} others", float(rest)))
    by = () if truth is None else _by_value(sample, truth, list(top.index))
    missing = len(values) - int(counts.sum())
    return ColumnProfile(name, kind, len(values), missing, len(counts), bars=tuple(bars), target=by)


def _of_numbers(
    values: pd.Series[Any], name: str, kind: str, sample: pd.Series[Any], truth: NDArray[np.float64] | None
) -> ColumnProfile:
    numbers = _seconds(values) if kind == "time" else values.to_numpy(dtype=np.float64)
    known = np.sort(numbers[np.isfinite(numbers)])
    missing = len(numbers) - len(known)
    if not len(known):
        return ColumnProfile(name, kind, len(values), missing, 0)
    told = _stamp if kind == "time" else _plain
    low, high = (known[int(share * (len(known) - 1))] for share in (0.25, 0.75))
    reach = 3 * (high - low)
    distinct = int((np.diff(known) > 0).sum()) + 1
    return ColumnProfile(
        name,
        kind,
        len(values),
        missing,
        distinct,
        float(known.mean()) if kind == "number" else None,
        float(known.std()) if kind == "number" else None,
        told(known[0]),
        told(known[-1]),
        {f"{q:g}": float(known[int(q * (len(known) - 1))]) for q in QUANTILES} if kind == "number" else {},
        int((known < low - reach).sum() + (known > high + reach).sum()) if reach > 0 and kind == "number" else 0,
        _bars(known, distinct, told),
        () if truth is None or kind == "time" else _by_number(sample.to_numpy(dtype=np.float64), truth),
    )


def _bars(known: NDArray[np.float64], distinct: int, told: Callable[[float], str]) -> tuple[Bar, ...]:
    """Return a histogram of sorted values; a bar a value where there are few."""
    if distinct <= BINS:
        starts, counts = np.unique(known, return_counts=True)
    else:
        counts, edges = np.histogram(known, BINS)
        starts = edges[:-1]
    return tuple(Bar(told(start), float(count)) for start, count in zip(starts, counts, strict=True))


def _by_number(values: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[Bar, ...]:
    """Return the target by tenths of a number's values."""
    known = np.isfinite(values) & np.isfinite(truth)
    values, truth = values[known], truth[known]
    if not len(values):
        return ()
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 11)))
    if len(edges) < 4:  # nearly all are one value: tenths of what there is besides
        edges = np.unique(np.quantile(np.unique(values), np.linspace(0, 1, 11)))
    place = np.clip(np.searchsorted(edges, values, "right") - 1, 0, max(0, len(edges) - 2))
    rows, sums = np.bincount(place), np.bincount(place, truth)
    return tuple(Bar(f"{edges[i]:.4g}", float(sums[i] / rows[i]), int(rows[i])) for i in np.flatnonzero(rows))


def _by_value(values: pd.Series[Any], truth: NDArray[np.float64], top: list[Any]) -> tuple[Bar, ...]:
    found = pd.Series(truth).groupby(values.astype(str).to_numpy()).agg(["mean", "size"])
    names = [str(value) for value in top if str(value) in found.index]
    return tuple(Bar(n[:60], float(found.loc[n, "mean"]), int(found.loc[n, "size"])) for n in names)  # type: ignore[arg-type]


def _correlations(numbers: pd.DataFrame) -> tuple[tuple[float, ...], ...]:
    ranks = numbers.rank()
    filled = ranks.fillna(ranks.mean())
    spread = filled.std(ddof=0)
    scaled = ((filled - filled.mean()) / spread.where(spread > 0, 1.0)).to_numpy()
    found = scaled.T @ scaled / len(scaled)
    return tuple(tuple(round(float(v), 3) for v in row) for row in found)


def _doubles(table: pd.DataFrame) -> int:
    hashes = np.sort(pd.util.hash_pandas_object(table, index=False).to_numpy())
    return int((np.diff(hashes) == 0).sum())


def _coverage(when: NDArray[np.float64]) -> tuple[Bar, ...]:
    known = when[np.isfinite(when)]
    if not len(known):
        return ()
    counts, edges = np.histogram(known, PERIODS)
    return tuple(Bar(_stamp(edge), float(count)) for edge, count in zip(edges[:-1], counts, strict=True))


def _seconds(values: pd.Series[Any]) -> NDArray[np.float64]:
    if not pd.api.types.is_datetime64_any_dtype(values):
        return values.to_numpy(dtype=np.float64) if pd.api.types.is_numeric_dtype(values) else np.zeros(0)
    numbers = values.dt.as_unit("us").astype("int64").to_numpy() / 1e6
    return np.where(values.isna().to_numpy(), np.nan, numbers)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.6g}"


def _stamp(seconds: float) -> str:
    return str(np.datetime64(int(seconds), "s")).replace("T", " ")
