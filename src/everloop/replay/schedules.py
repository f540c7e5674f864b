"""What the loop is compared with: the first model left alone, and retraining by the calendar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.replay.history import History
from everloop.settings import Replay, seconds
from everloop.training import EVERYTHING, Problem, Recipe, Trained, fit_recipe

__all__ = ["MONTH", "WEEK", "Calendar", "Schedules", "Scored", "WindowLosses"]

Floats = NDArray[np.float64]
WEEK, MONTH = 7 * 86400.0, 365.25 / 12 * 86400.0
SHARES, PHASES = (0.25, 0.5, 0.7), 4


class Calendar(msgspec.Struct, frozen=True):
    """The times at which a schedule retrains, whatever happens."""

    times: tuple[float, ...]

    @classmethod
    def every(cls, period: float, start: float, end: float, phase: float = 1.0) -> Calendar:
        """Return a retraining each `period`, the first `phase` periods after `start`."""
        return cls(tuple(np.arange(start + phase * period, end, period).tolist()))


class Scored(msgspec.Struct, frozen=True):
    """What a schedule lost on every live row, and how often it retrained."""

    losses: Floats
    retrainings: int


class WindowLosses(msgspec.Struct, frozen=True):
    """One schedule on everything and on its best fixed window (chosen in hindsight): mean losses over phases."""

    everything: Scored
    best: Scored
    window: str


class Schedules:
    """Plays calendars over a history without serving: each fit sees the labels that were known at its time."""

    def __init__(self, problem: Problem, history: History, replay: Replay) -> None:
        self._problem, self._history = problem, history
        self._delay = seconds(replay.label_delay)
        self._takes = seconds(replay.training_time) + seconds(replay.rollout_delay)
        known = history.start
        self._windows = [EVERYTHING] + [Recipe(f"newest {int(known * s)}", ("rows",), int(known * s)) for s in SHARES]
        self._first = fit_recipe(problem, history.table, history.times, EVERYTHING, float(history.times[known - 1]))

    def compare(self, calendars: Sequence[Calendar], on_fit: Callable[[], None]) -> WindowLosses:
        """Return the mean losses over `calendars` (phases of one schedule) on everything, and on the best window."""
        scored = {w.name: self._mean([self.score(c, w, on_fit) for c in calendars]) for w in self._windows}
        fixed = [name for name in scored if name != EVERYTHING.name]
        best = min(fixed, key=lambda name: float(scored[name].losses.mean()))
        return WindowLosses(scored[EVERYTHING.name], scored[best], best)

    def fits(self, calendars: Sequence[Calendar]) -> int:
        """Return how often `compare` calls `on_fit`."""
        return len(self._windows) * sum(len(c.times) for c in calendars)

    def score(self, calendar: Calendar, window: Recipe, on_fit: Callable[[], None]) -> Scored:
        """Return what a calendar loses on `window`; until its first model serves, the frozen one does."""
        table, times = self._history.table, self._history.times
        stops = [*(t + self._takes for t in calendar.times), np.inf]
        lost = [self._losses(self._first, float(self._history.live_times[0]), stops[0])]
        for decided, stop in zip(calendar.times, stops[1:], strict=True):
            trained = fit_recipe(self._problem, table, times, window, decided - self._delay)
            lost.append(self._losses(trained, decided + self._takes, stop))
            on_fit()
        return Scored(np.concatenate(lost), len(calendar.times))

    def _losses(self, trained: Trained, start: float, stop: float) -> Floats:
        first, last = np.searchsorted(self._history.times, [start, stop])
        rows = self._history.table.iloc[first:last]
        if rows.empty:
            return np.empty(0)
        return self._problem.loss(self._problem.truth(rows), trained.answers(rows))

    def _mean(self, scored: Sequence[Scored]) -> Scored:
        mean: Floats = np.mean([s.losses for s in scored], axis=0)
        return Scored(mean, round(float(np.mean([s.retrainings for s in scored]))))
