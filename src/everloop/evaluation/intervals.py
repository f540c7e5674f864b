"""Intervals of figures: blocks of time are drawn again with replacement, since rows of one block are alike.

The block bootstrap (Künsch 1989; Davison and Hinkley 1997, chapter 8), with the percentiles of its draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Figure", "draws_of", "figure", "figures"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DRAWS, LEVEL = 400, 0.95


class Figure(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval; None where so few blocks say nothing of it."""

    value: float
    low: float | None = None
    high: float | None = None


def figures(measure: Callable[[Ints], Mapping[str, float]], blocks: Ints, seed: int = 0) -> dict[str, Figure]:
    """Return what `measure` says of all rows, by name, each with its interval; it is given places of rows."""
    found = dict(measure(np.arange(len(blocks))))
    drawn = [measure(rows) for rows in draws_of(blocks, seed)] if len(np.unique(blocks)) > 2 else []
    return {name: _figure(value, [one[name] for one in drawn if name in one]) for name, value in found.items()}


def figure(measure: Callable[[Ints], float], blocks: Ints, seed: int = 0) -> Figure:
    """Return the one number that `measure` says, with its interval."""
    return figures(lambda rows: {"": measure(rows)}, blocks, seed)[""]


def draws_of(blocks: Ints, seed: int = 0, draws: int = DRAWS) -> Iterator[Ints]:
    """Give the places of rows of each draw: as many blocks as there are, with replacement."""
    rng = np.random.default_rng(seed)
    order = np.argsort(blocks, kind="stable")
    starts = np.flatnonzero(np.diff(blocks[order], prepend=-1))
    members = np.split(order, starts[1:]) if len(starts) < len(blocks) else None
    for _ in range(draws):
        drawn = rng.integers(0, len(starts), len(starts))
        yield order[np.sort(drawn)] if members is None else np.concatenate([members[place] for place in drawn])


def _figure(value: float, drawn: list[float]) -> Figure:
    usable = [one for one in drawn if np.isfinite(one)]
    if len(usable) < DRAWS / 2:
        return Figure(value)
    low, high = np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high))
