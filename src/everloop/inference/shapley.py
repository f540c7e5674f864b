"""Shapley values of a model's answer, over any graph: how much each column moved it away from the usual one.

Interventional values (Lundberg and Lee 2017; Janzing et al. 2020): a column that is left out takes the values that it
has in background rows. Every coalition is computed where there are few columns, else antithetic permutations are drawn
(Mitchell et al. 2022); either way base and values sum to the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["BUDGET", "Explained", "explain"]

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
Predict = Callable[[dict[str, NDArray[Any]]], Floats]
BUDGET, CHUNK = 150_000, 16_384
"""Rows that one explanation may have computed, and how many go through the graph at once."""


class Explained(msgspec.Struct, frozen=True):
    """Why one answer is what it is: `base` plus all `values` is the answer; `errors` are standard errors, 0 if exact.

    `base` is the mean answer to the background.
    """

    answer: float
    base: float
    values: dict[str, float]
    errors: dict[str, float]
    method: str


def explain(predict: Predict, row: Columns, background: Columns, *, budget: int = BUDGET, seed: int = 0) -> Explained:
    """Return the Shapley values of one row; `predict` gives one number a row.

    `row` holds arrays of one row, `background` of at least one; a column that holds vectors is one player.
    """
    names = list(row)
    usual = len(next(iter(background.values())))
    if len(names) < 20 and 2 ** len(names) * usual <= budget:
        values, errors, ends = _exact(predict, row, background, names)
        method = f"all {2 ** len(names)} coalitions"
    else:
        pairs = max(2, budget // (2 * (len(names) + 1) * usual))
        values, errors, ends = _sampled(predict, row, background, names, pairs, seed)
        method = f"{2 * pairs} permutations"
    return Explained(
        ends[1], ends[0], dict(zip(names, values.tolist(), strict=True)),
        dict(zip(names, errors.tolist(), strict=True)), method,
    )  # fmt: skip


def _exact(
    predict: Predict, row: Columns, background: Columns, names: Sequence[str]
) -> tuple[Floats, Floats, tuple[float, float]]:
    count = len(names)
    coalitions = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
    means = _means(predict, row, background, names, coalitions)
    sizes = coalitions.sum(1)
    factorials = [math.factorial(n) for n in range(count + 1)]
    weights = np.array(
        [factorials[s] * factorials[max(count - s - 1, 0)] / factorials[count] for s in range(count + 1)]
    )
    values = np.empty(count)
    for player in range(count):
        without = np.flatnonzero(~coalitions[:, player])
        gains = means[without + (1 << player)] - means[without]
        values[player] = np.dot(weights[sizes[without]], gains)
    return values, np.zeros(count), (float(means[0]), float(means[-1]))


def _sampled(
    predict: Predict, row: Columns, background: Columns, names: Sequence[str], pairs: int, seed: int
) -> tuple[Floats, Floats, tuple[float, float]]:
    """Walk each permutation forwards and backwards; the mean of both is one draw of all values."""
    rng, count = np.random.default_rng(seed), len(names)
    draws = np.empty((pairs, count))
    ends = (0.0, 0.0)
    for pair in range(pairs):
        order = rng.permutation(count)
        gains = np.zeros(count)
        for walk in (order, order[::-1]):
            place = np.empty(count, dtype=np.int64)
            place[walk] = np.arange(count)
            means = _means(predict, row, background, names, place[None, :] < np.arange(count + 1)[:, None])
            gains[walk] += np.diff(means) / 2
            ends = (float(means[0]), float(means[-1]))
        draws[pair] = gains
    return draws.mean(0), draws.std(0, ddof=1) / math.sqrt(pairs), ends


def _means(
    predict: Predict, row: Columns, background: Columns, names: Sequence[str], coalitions: NDArray[np.bool_]
) -> Floats:
    """Return, for each coalition, the mean answer with its columns from the row and the others from the background."""
    usual = len(next(iter(background.values())))
    found = np.empty(len(coalitions))
    for start in _chunks(len(coalitions), max(1, CHUNK // usual)):
        part = coalitions[start]
        feeds = {name: _mixed(row[name], background[name], part[:, place]) for place, name in enumerate(names)}
        found[start] = predict(feeds).reshape(len(part), usual).mean(1)
    return found


def _mixed(own: NDArray[Any], usual: NDArray[Any], taken: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the column for all coalitions: its own value where it is taken, else each of the background's."""
    shape = (len(taken), len(usual), *usual.shape[1:])
    mask = taken.reshape(-1, *([1] * (len(shape) - 1)))
    mixed = np.where(mask, np.broadcast_to(own, shape), np.broadcast_to(usual, shape))
    return mixed.reshape(-1, *usual.shape[1:])


def _chunks(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
