"""The same statistics of two tables side by side: served rows against trained ones, a version against another."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from everloop.statistics import chi_squared, jensen_shannon, kolmogorov_smirnov

__all__ = ["Shift", "compare"]

SAMPLE = 20_000
LEVEL = 0.01
SMALLEST = 0.1
"""A distance below that is told, but is no shift: with many rows the smallest is beyond chance."""


class Shift(msgspec.Struct, frozen=True):
    """How one column differs between two tables: missing shares, middles, and a test of the distributions."""

    column: str
    test: str
    distance: float
    p_value: float
    jensen_shannon: float
    before: str
    after: str
    missing_before: float
    missing_after: float
    shifted: bool


def compare(before: pd.DataFrame, after: pd.DataFrame, columns: list[str]) -> list[Shift]:
    """Return the columns' shifts, the largest first; at most 20,000 rows of each, evenly taken, are looked at.

    A shift is a distance of at least 0.1 whose chance, over the number of columns, is below 0.01.
    """
    before, after = (_sample(table) for table in (before, after))
    found = [_shift(name, before[name], after[name], LEVEL / max(1, len(columns))) for name in columns]
    return sorted(found, key=lambda shift: (-shift.shifted, -shift.distance))


def _sample(table: pd.DataFrame) -> pd.DataFrame:
    if len(table) <= SAMPLE:
        return table
    return table.iloc[np.linspace(0, len(table) - 1, SAMPLE).astype(int)]


def _shift(name: str, before: pd.Series[Any], after: pd.Series[Any], level: float) -> Shift:
    numeric = pd.api.types.is_numeric_dtype(before) and not pd.api.types.is_bool_dtype(before)
    if numeric:
        a, b = (v.to_numpy(dtype=np.float64) for v in (before, after))
        distance, p = kolmogorov_smirnov(a, b)
        spread, told = jensen_shannon(a, b), (_middle(a), _middle(b))
        missing = float(np.isnan(a).mean()), float(np.isnan(b).mean())
        test = "kolmogorov_smirnov"
    else:
        texts = [v.fillna("").astype(str) for v in (before, after)]
        (distance, p), test = chi_squared(texts[0].tolist(), texts[1].tolist()), "chi_squared"
        spread, told = _shares_apart(*texts), (_most(texts[0]), _most(texts[1]))
        missing = float((texts[0] == "").mean()), float((texts[1] == "").mean())
    moved = (distance >= SMALLEST and p < level) or abs(missing[0] - missing[1]) >= SMALLEST
    return Shift(name, test, distance, p, spread, *told, *missing, moved)


def _middle(values: Any) -> str:
    known = values[~np.isnan(values)]
    return f"median {np.median(known):.4g}, mean {known.mean():.4g}" if len(known) else "no value"


def _most(values: pd.Series[str]) -> str:
    counts = values.value_counts(normalize=True)
    return f"{counts.index[0]!r} in {counts.iloc[0]:.1%}" if len(counts) else "no value"


def _shares_apart(before: pd.Series[str], after: pd.Series[str]) -> float:
    """Return the Jensen-Shannon distance of two distributions over texts."""
    p, q = (v.value_counts(normalize=True) for v in (before, after))
    names = p.index.union(q.index)
    a, b = (shares.reindex(names, fill_value=0.0).to_numpy(dtype=np.float64) for shares in (p, q))
    middle = (a + b) / 2
    lost = sum(float((x[x > 0] * np.log2(x[x > 0] / middle[x > 0])).sum()) for x in (a, b)) / 2
    return float(np.sqrt(max(0.0, lost)))
