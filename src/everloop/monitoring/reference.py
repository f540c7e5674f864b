"""The rows that a model was judged on, cut into blocks as its traffic is cut into windows."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.profile import Profile
from everloop.monitoring.window import season_of
from everloop.types import Column, Task

__all__ = ["Reference", "blocks_of", "profile_of"]

Floats = NDArray[np.float64]
FEW, MOST = 8, 28


class Reference(msgspec.Struct, frozen=True):
    """Out-of-time rows with the model's answers (rows, values), their losses and hits, and what guards flagged.

    `hidden` holds (rows, values) of a hidden layer, where the model is a network that is looked into.
    """

    task: Task
    columns: tuple[Column, ...]
    times: Floats
    values: dict[str, Any]
    answers: Floats
    losses: Floats
    flags: dict[str, NDArray[np.bool_]] = {}
    metric: float = 0.0
    hidden: Floats | None = None


def blocks_of(times: Floats, length: float, count: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the block of each row, and the season of each block.

    Times that span fewer than eight blocks (or are none, only an order) are cut into parts of equal counts.
    """
    if not count:
        places, blocks = np.unique(times // length, return_inverse=True)
        if len(places) >= FEW:
            return blocks, np.array([season_of(float(p) * length, length) for p in places])
        count = max(FEW, len(times) // MOST)
    blocks = np.arange(len(times)) // count
    return blocks, np.zeros(int(blocks[-1]) + 1 if len(blocks) else 0, np.int64)


def profile_of(features: Floats, reference: Reference, length: float, count: int, *, shares: bool = True) -> Profile:
    """Return the profile of features of shape (rows, features); `shares` are between 0 and 1."""
    blocks, seasons = blocks_of(reference.times, length, count)
    kept = ~np.isnan(features[:, 0])
    sums = np.zeros((len(seasons), features.shape[1]))
    np.add.at(sums, blocks[kept], features[kept])
    rows = np.bincount(blocks[kept], minlength=len(seasons)).astype(np.float64)
    if shares:
        share = (sums.sum(0) + 0.5) / (rows.sum() + 1)
        spread = share * (1 - share)
    else:
        spread = features[kept].var(0)
    return Profile(sums, rows, spread, seasons)
