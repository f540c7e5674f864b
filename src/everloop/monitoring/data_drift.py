"""Data drift: which inputs moved away from the rows that the model was judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from everloop.statistics import chi_squared, kolmogorov_smirnov, population_stability
from everloop.types import Column, Signal

__all__ = ["data_drift"]


def data_drift(
    columns: Sequence[Column],
    reference: Mapping[str, Any],
    window: Mapping[str, Any],
    *,
    start: float,
    end: float,
    false_alarm: float = 0.01,
) -> list[Signal]:
    """Return one signal a column over one window of rows: its distance from the reference, firing where it is real.

    Numbers are compared by Kolmogorov-Smirnov, categories by chi-squared; the value is the distance
    (0 to 1), and a signal fires when its p-value stays below `false_alarm` over the number of columns
    (Bonferroni) *and* the distance is large enough to matter (0.1). Rows that follow each other are
    alike, so p-values of one short window overstate: a window should span the reference's seasons.
    """
    signals = []
    for column in columns:
        if column.kind not in ("numeric", "categorical") or column.name not in reference:
            continue
        evidence: dict[str, Any] = {"column": column.name, "rows": len(window[column.name])}
        if column.kind == "numeric" and column.dtype in ("float64", "int64"):
            before = np.asarray(reference[column.name], dtype=np.float64)
            now = np.asarray(window[column.name], dtype=np.float64)
            distance, p = kolmogorov_smirnov(before, now)
            evidence |= {"test": "kolmogorov_smirnov", "psi": population_stability(before, now)}
            evidence |= {"mean_before": float(np.nanmean(before)), "mean_now": float(np.nanmean(now))}
        else:
            distance, p = chi_squared(list(reference[column.name]), list(window[column.name]))
            evidence |= {"test": "chi_squared"}
        evidence["p"] = p
        firing = p < false_alarm / len(columns) and distance >= 0.1
        signals.append(Signal(f"data_drift:{column.name}", end, distance, 0.1, firing, start, end, evidence))
    return signals
