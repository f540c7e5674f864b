"""A window: the rows, or a part of them, of one stretch of traffic, by column."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Cutter", "Window", "kind_of_length", "season_of"]

DAY = 86_400.0


class Window(msgspec.Struct, frozen=True):
    """A batch of rows of the window from `start` to `end`; `last` closes it, and may hold no row.

    `columns` holds an array of numbers (NaN where missing) or a list of values, by name; `answers` those of the
    champion; `flags` which rows a guard flagged. `explained` holds contributions by column, of
    a batch whose rows were explained.
    `losses` and `truth` are there for rows whose label is known.
    """

    start: float
    end: float
    rows: int = 0
    last: bool = False
    columns: dict[str, Any] = {}
    answers: NDArray[np.float64] | None = None
    flags: dict[str, NDArray[np.bool_]] = {}
    explained: dict[str, NDArray[np.float64]] = {}
    losses: NDArray[np.float64] | None = None
    truth: NDArray[np.float64] | None = None
    coverage: float = 0.0
    newest: float = 0.0
    labelled: float = 0.0

    def part(self, chosen: slice, start: float, end: float, *, last: bool) -> Window:
        """Return some of the rows, or of those that were explained, as a batch of another window."""
        flags = {name: found[chosen] for name, found in self.flags.items()}
        return Window(
            start=start,
            end=end,
            rows=len(range(*chosen.indices(self.rows))),
            last=last,
            columns={name: values[chosen] for name, values in self.columns.items()},
            answers=None if self.answers is None else self.answers[chosen],
            flags=flags,
            explained={name: found[chosen] for name, found in self.explained.items()},
            newest=self.newest,
            labelled=self.labelled,
        )


class Cutter(msgspec.Struct):
    """Cuts traffic into windows of `length` seconds of event time, or of `count` rows where that is given.

    Rows come about in the order of their times. One that is late counts in the window that is open.
    """

    length: float
    count: int = 0
    start: float | None = None
    rows: int = 0

    def cut(self, batch: Window, times: NDArray[np.float64]) -> list[Window]:
        """Return the batch as parts of windows, each closed once a row lies behind it."""
        parts: list[Window] = []
        at = 0
        while at < batch.rows:
            if self.start is None:
                self.start = float(times[at]) if self.count else float(times[at] // self.length * self.length)
            if self.count:
                until = min(batch.rows, at + self.count - self.rows)
                end, full = float(times[until - 1]), until - at + self.rows >= self.count
            else:
                end = self.start + self.length
                behind = np.flatnonzero(times[at:] >= end)
                until = at + int(behind[0]) if len(behind) else batch.rows
                full = bool(len(behind))
            parts.append(batch.part(slice(at, until), self.start, end, last=False))
            self.rows += until - at
            at = until
            if full:
                parts.append(Window(self.start, end, last=True))
                self.start, self.rows = None, 0
        return parts

    def close(self, now: float) -> Window | None:
        """Return the end of a window that is over by now, though no row came behind it."""
        if self.start is None or self.count or now < self.start + self.length:
            return None
        closed = Window(self.start, self.start + self.length, last=True)
        self.start, self.rows = None, 0
        return closed


def kind_of_length(length: float) -> int:
    """Return how many seasons windows of that length have: the hours of a day, the days of a week, or one."""
    if 0 < length < DAY:
        return int(DAY // length)
    return 7 if length == DAY else 1


def season_of(start: float, length: float) -> int:
    """Return the season of the window that begins at `start`: its place in the day, or its day of the week."""
    seasons = kind_of_length(length)
    if seasons == 1:
        return 0
    return int(start % DAY // length) % seasons if length < DAY else int(start // DAY) % 7
