"""Join late labels to predictions: in prediction-time order, up to a watermark of label coverage."""

from __future__ import annotations

import bisect
from typing import Any

import msgspec

__all__ = ["Joined", "LabelJoin"]

Key = tuple[str, int]


class Waiting(msgspec.Struct, array_like=True):
    """One predicted row that the watermark has not passed; `observed` is None until its label is known."""

    time: float
    key: Key
    payload: Any
    observed: float | None = None
    value: Any = None

    @property
    def order(self) -> tuple[float, Key]:
        return (self.time, self.key)


class Joined(msgspec.Struct, frozen=True):
    """One predicted row with its true value; `payload` is what `predicted` was given."""

    time: float
    key: Key
    payload: Any
    value: Any
    observed: float


class JoinState(msgspec.Struct):
    """All that a restart needs."""

    waiting: list[Waiting] = []
    released: int = 0
    passed_over: int = 0
    unmatched: int = 0
    watermark: float = float("-inf")


class LabelJoin:
    """Hands out each predicted row once, in prediction-time order, as soon as enough labels around it are known.

    The watermark is the newest labelled prediction up to which at least `coverage` of the rows still
    waiting have their label. A row that the watermark passed without a label is passed over: a test
    that looks at every new row stays valid only if the order of rows never changes. A label sent twice
    counts once; a label of an unknown row, or of one passed over, counts as unmatched.
    """

    def __init__(self, coverage: float, state: JoinState | None = None, limit: int = 1_000_000) -> None:
        self.coverage, self.state, self._limit = coverage, state or JoinState(), limit
        self._rows: dict[Key, Waiting] = {w.key: w for w in self.state.waiting}

    def predicted(self, key: Key, time: float, payload: Any) -> bool:
        """Remember one predicted row; returns whether it is new: one predicted twice counts once."""
        if key in self._rows or time < self.state.watermark:
            return False
        row = Waiting(time, key, payload)
        self._rows[key] = row
        bisect.insort(self.state.waiting, row, key=lambda w: w.order)
        if len(self.state.waiting) > self._limit:
            self._pass_over(self.state.waiting.pop(0))
        return True

    def labelled(self, key: Key, value: Any, observed: float) -> bool:
        """Take one label; returns whether it is new."""
        row = self._rows.get(key)
        if row is None:
            self.state.unmatched += 1
            return False
        if row.observed is not None:
            return False
        row.value, row.observed = value, observed
        return True

    def release(self) -> list[Joined]:
        """Return the labelled rows up to the watermark, oldest first."""
        end = self._watermark()
        passed, self.state.waiting = self.state.waiting[:end], self.state.waiting[end:]
        joined = []
        for row in passed:
            if row.observed is None:
                self._pass_over(row)
                continue
            del self._rows[row.key]
            joined.append(Joined(row.time, row.key, row.payload, row.value, row.observed))
        if passed:
            self.state.watermark = passed[-1].time
        self.state.released += len(joined)
        return joined

    @property
    def label_coverage(self) -> float:
        """The share of all rows that the watermark passed which had their label."""
        total = self.state.released + self.state.passed_over
        return self.state.released / total if total else 0.0

    def _watermark(self) -> int:
        """Return how many waiting rows lie at or before the watermark."""
        known, end = 0, 0
        for index, row in enumerate(self.state.waiting, 1):
            if row.observed is not None:
                known += 1
                if known >= self.coverage * index:
                    end = index
        return end

    def _pass_over(self, row: Waiting) -> None:
        del self._rows[row.key]
        self.state.passed_over += 1
