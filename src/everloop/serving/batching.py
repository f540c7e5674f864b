"""Requests of one version answered together: only where it is asked for, as it pays for heavy graphs alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["ALONE", "Batcher", "Batching"]

Arrays = dict[str, NDArray[Any]]
Predict = Callable[[Arrays], Arrays]


class Batching(msgspec.Struct, frozen=True):
    """At most `rows` rows together, none of them waiting longer than `seconds`; one row means none together."""

    rows: int = 1
    seconds: float = 0.0


ALONE = Batching()


class _Request(NamedTuple):
    arrays: Arrays
    rows: int
    done: asyncio.Future[tuple[Arrays, int]]


class Batcher:
    """Collects requests until their rows fill a batch or the first of them has waited long enough.

    A request that is as large as a batch goes alone and at once. Whoever gives up takes only its own rows along; an
    error in a batch is found by answering each of its requests alone, so nobody fails for a neighbour.
    """

    def __init__(self, predict: Predict, rules: Batching) -> None:
        self._predict, self._rules = predict, rules
        self._waiting: list[_Request] = []
        self._rows = 0
        self._timer: asyncio.TimerHandle | None = None

    async def predict(self, arrays: Arrays, rows: int) -> tuple[Arrays, int]:
        """Return the answer to `rows` rows, and how many rows were computed together with them."""
        if rows >= self._rules.rows:
            return self._predict(arrays), rows
        if self._rows + rows > self._rules.rows:
            self._answer()
        loop = asyncio.get_running_loop()
        request = _Request(arrays, rows, loop.create_future())
        self._waiting.append(request)
        self._rows += rows
        if self._rows == self._rules.rows:
            self._answer()
        elif self._timer is None:
            self._timer = loop.call_later(self._rules.seconds, self._answer)
        return await request.done

    def _answer(self) -> None:
        if self._timer:
            self._timer.cancel()
        batch = [request for request in self._waiting if not request.done.done()]
        self._waiting, self._rows, self._timer = [], 0, None
        if not batch:
            return
        try:
            found = self._predict(_joined(batch))
        except Exception:
            for request in batch:
                _alone(self._predict, request)
            return
        place, rows = 0, sum(request.rows for request in batch)
        for request in batch:
            part = {name: array[place : place + request.rows] for name, array in found.items()}
            request.done.set_result((part, rows))
            place += request.rows


def _joined(batch: list[_Request]) -> Arrays:
    if len(batch) == 1:
        return batch[0].arrays
    return {name: np.concatenate([request.arrays[name] for request in batch]) for name in batch[0].arrays}


def _alone(predict: Predict, request: _Request) -> None:
    try:
        request.done.set_result((predict(request.arrays), request.rows))
    except Exception as error:
        request.done.set_exception(error)
