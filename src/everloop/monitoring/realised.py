"""Joins late labels to a sample of the predictions, and closes each window once its labels are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from everloop.monitoring.window import Window

__all__ = ["RealisedState", "RealisedWindows"]

NEARLY_ALL = 0.95


class _Open(msgspec.Struct):
    """A window whose labels are waited for: so many rows, and of those that are labelled truth and answer."""

    predicted: int = 0
    truth: list[float] = []
    answers: list[Any] = []

    def coverage(self) -> float:
        return len(self.truth) / self.predicted if self.predicted else 0.0


class RealisedState(msgspec.Struct):
    """All that a restart needs; `waiting` maps a prediction's id to its window and one answer a row, or None."""

    share: float = 1.0
    waiting: dict[str, tuple[int, list[Any]]] = {}
    open: dict[int, _Open] = {}
    passed: int = -1
    unmatched: int = 0


class RealisedWindows:
    """Windows of `length` seconds of event time, each handed out once, oldest first.

    A window closes when nearly all its labels are there, or enough of them and enough of a later one's. One that a
    later one overtook is left out. At most `most` predictions wait: beyond it a sample goes on, chosen by their ids, so
    that every worker chooses the same.
    """

    def __init__(self, length: float, coverage: float, state: RealisedState | None = None, most: int = 20_000) -> None:
        self._length, self._coverage, self._most = length, coverage, most
        self.state = state or RealisedState()

    def predicted(self, predictions: Iterable[tuple[str, float, Sequence[Any]]]) -> None:
        """Remember predictions by id: the time of each and the answers to its rows."""
        state, length = self.state, self._length
        for id, time, answers in predictions:
            if state.share < 1.0 and not self._sampled(id):
                continue
            window = int(time // length)
            if window <= state.passed or id in state.waiting:
                continue
            state.waiting[id] = (window, list(answers))
            state.open.setdefault(window, _Open()).predicted += len(answers)
            if len(state.waiting) > self._most:
                self._halve()

    def labelled(self, id: str, row: int, truth: float) -> None:
        """Take one label; one sent twice counts once."""
        found = self.state.waiting.get(id)
        if found is None:
            self.state.unmatched += self._sampled(id)
            return
        window, answers = found
        if not 0 <= row < len(answers) or answers[row] is None:
            return
        opened = self.state.open[window]
        opened.truth.append(truth)
        opened.answers.append(answers[row])
        answers[row] = None
        if all(answer is None for answer in answers):
            del self.state.waiting[id]

    def closed(self, now: float) -> list[tuple[Window, list[float], list[Any]]]:
        """Return the windows that close by now, with truth and answers of their labelled rows."""
        found: list[tuple[Window, list[float], list[Any]]] = []
        over = [w for w in sorted(self.state.open) if (w + 1) * self._length <= now]
        enough = [w for w in over if self.state.open[w].coverage() >= self._coverage]
        for window in enough:
            opened = self.state.open[window]
            if opened.coverage() < NEARLY_ALL and window == enough[-1]:
                break
            start = window * self._length
            told = Window(start, start + self._length, last=True, coverage=opened.coverage())
            found.append((told, opened.truth, opened.answers))
            self._pass(window)
        return found

    def _pass(self, window: int) -> None:
        state = self.state
        state.passed = window
        state.open = {w: opened for w, opened in state.open.items() if w > window}
        state.waiting = {id: found for id, found in state.waiting.items() if found[0] > window}

    def _sampled(self, id: str) -> bool:
        return self.state.share >= 1.0 or int(id[-6:], 16) < self.state.share * 0x1000000

    def _halve(self) -> None:
        self.state.share /= 2
        for id in [id for id in self.state.waiting if not self._sampled(id)]:
            window, answers = self.state.waiting.pop(id)
            self.state.open[window].predicted -= sum(answer is not None for answer in answers)
