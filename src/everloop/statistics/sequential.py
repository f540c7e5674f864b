"""Tests that stay valid however often one looks: an e-process for a mean, an e-detector for a change.

An e-process has expectation at most one at every stopping time while its hypothesis holds, so the
chance that it ever exceeds 1/a is at most a (Ville). Inputs are block means (`everloop.statistics.blocks`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["MeanTest", "change_evidence", "gain_evidence", "mean_test", "t_mixture_log_e"]

Floats = NDArray[np.float64]
MIXTURE = 0.3


class MeanTest(msgspec.Struct, frozen=True):
    """What a sequential test of a mean says so far; `interval` covers the mean at all times with 1 - alpha.

    `error` is the mean's standard error, for who does not test.
    """

    outcome: Literal["positive", "negative", "inconclusive"]
    mean: float
    interval: tuple[float, float]
    blocks: int
    log_e: float
    error: float = math.inf


def t_mixture_log_e(means: Sequence[float] | Floats, mixture: float = MIXTURE, null: float = 0.0) -> Floats:
    """Return, after each block, the log of the anytime-valid t-test's e-process for a mean of `null`.

    The standardised effect is mixed over a normal of variance 1 / `mixture` (Lai 1976; Wang and Ramdas
    2024): the unknown variance drops out, so no unit and no plug-in variance enters.
    """
    x = np.asarray(means, dtype=np.float64) - null
    n = np.arange(1, len(x) + 1)
    total, squares = np.cumsum(x), np.maximum(np.cumsum(x * x), 1e-300)
    share = np.minimum(total * total / ((n + mixture) * squares), 1 - 1e-15)
    log_e: Floats = -0.5 * n * np.log1p(-share) + 0.5 * np.log(mixture / (n + mixture))
    return log_e


def mean_test(means: Sequence[float] | Floats, alpha: float, minimum: int = 3, mixture: float = MIXTURE) -> MeanTest:
    """Return the verdict at the first block where the mean's sign is beyond doubt, looking after every block.

    Two-sided at 2 `alpha`, decided by the sign of the sum: about `alpha` of false verdicts a side.
    Fewer than `minimum` blocks decide nothing.
    """
    x = np.asarray(means, dtype=np.float64)
    log_e = t_mixture_log_e(x, mixture)
    reached = np.flatnonzero((log_e >= math.log(1 / (2 * alpha))) & (np.arange(1, len(x) + 1) >= minimum))
    seen = x[: reached[0] + 1] if len(reached) else x
    if not len(seen):
        return MeanTest("inconclusive", 0.0, (-math.inf, math.inf), 0, 0.0)
    outcome: Literal["positive", "negative", "inconclusive"] = "inconclusive"
    if len(reached):
        outcome = "positive" if seen.sum() > 0 else "negative"
    error = float(seen.std(ddof=1)) / math.sqrt(len(seen)) if len(seen) > 1 else math.inf
    interval = _interval(seen, alpha, mixture)
    return MeanTest(outcome, float(seen.mean()), interval, len(seen), float(log_e[len(seen) - 1]), error)


def _interval(x: Floats, alpha: float, mixture: float) -> tuple[float, float]:
    """Invert the e-process: all means that it has not refuted at 2 alpha, in closed form."""
    n = len(x)
    # log e(m) < log(1 / (2 alpha))  <=>  share(m) < bound, a quadratic inequality in m.
    bound = 1 - math.exp(-2 / n * (math.log(1 / (2 * alpha)) - 0.5 * math.log(mixture / (n + mixture))))
    mean, spread = float(x.mean()), float(x.var())
    # n^2 d^2 < bound (n + mixture) n (spread + d^2), d = mean - m
    room = n - bound * (n + mixture)
    if room <= 0:
        return (-math.inf, math.inf)
    half = math.sqrt(bound * (n + mixture) * spread / room)
    return (mean - half, mean + half)


def change_evidence(
    means: Sequence[float] | Floats, baseline: Sequence[float] | Floats, shifts: tuple[float, ...] = (0.5, 1.0, 2.0)
) -> float:
    """Return the largest evidence, so far, that the mean rose above the baseline's: a Shiryaev-Roberts e-detector.

    An alarm at evidence `n` comes, without a change, after `n` blocks or more on average (Shin, Ramdas
    and Rinaldo 2023). Blocks are standardised by the baseline's mean and deviation, its own uncertainty
    added, and clipped at four deviations; `shifts` are the rises looked for, in deviations.
    """
    base = np.asarray(baseline, dtype=np.float64)
    if len(base) < 2:
        return 0.0
    deviation = float(base.std(ddof=1)) or abs(float(base.mean())) * 1e-6 or 1e-12
    start = float(base.mean()) + deviation / math.sqrt(len(base))
    scale = deviation * math.sqrt(1 + 1 / len(base))
    steps = np.asarray(shifts)
    detectors, largest = np.zeros(len(steps)), 0.0
    for value in np.asarray(means, dtype=np.float64):
        z = min(4.0, max(-4.0, (float(value) - start) / scale))
        detectors = (detectors + 1) * np.exp(steps * z - steps**2 / 2)
        largest = max(largest, float(detectors.mean()))
    return largest


def gain_evidence(gains: Sequence[float] | Floats, restart: int, minimum: int = 3) -> float:
    """Return the largest evidence, so far, that block gains are positive: an e-detector of restarted e-processes.

    A new e-process starts every `restart` blocks and counts while its sum is positive; an alarm at
    evidence `n` comes, without a gain, after `n * restart` blocks or more on average.
    """
    x = np.asarray(gains, dtype=np.float64)
    total = np.zeros(len(x))
    for start in range(0, len(x), restart):
        part = x[start:]
        counts = (np.cumsum(part) > 0) & (np.arange(1, len(part) + 1) >= minimum)
        total[start:] += np.where(counts, np.exp(np.minimum(t_mixture_log_e(part), 50.0)), 0.0)
    return float(total.max()) if len(x) else 0.0
