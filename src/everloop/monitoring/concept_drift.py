"""Concept drift from late labels: has the champion's loss risen, and would a cheap challenger have done better?

Signals on blocks of event time since the champion was first scored:

- `realised_loss`: a Shiryaev-Roberts e-detector on the block means of its loss, against the losses it
  had out of time. Without a change it fires once in `run_length` blocks or less often.
- `challenger_gain`: an e-process on what a level (`everloop.statistics.levels`), fitted on the week
  before each block, would have gained on that block. What makes everybody's loss rise (a busy season,
  noise) is no gain, and no reason to retrain. Without a gain it fires once in `memory / alpha` blocks or
  less often.
- `raw_gain`, while answers are recalibrated: the same e-process on what the raw answers would have gained
  on the corrected ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.statistics import BlockMeans, LevelRules, apply_level, change_evidence, gain_evidence, level_at
from everloop.types import Signal, Task

__all__ = ["ConceptDrift", "DriftRules", "DriftState", "LabelledRow", "started"]

Loss = Callable[[NDArray[Any], NDArray[np.float64]], NDArray[np.float64]]


class DriftRules(msgspec.Struct, frozen=True):
    """`block` is the length of event time that counts as one observation, in seconds."""

    task: Task
    block: float = 86400.0
    memory: int = 7
    """Blocks that a challenger's level is fitted on."""
    run_length: float = 365.0
    alpha: float = 0.025
    minimum_blocks: int = 3
    bounds: tuple[float, float] = (0.5, 2.0)

    @property
    def level(self) -> LevelRules:
        """The rules of the challenger's level."""
        return LevelRules(self.task, self.block, self.memory, self.minimum_blocks, self.bounds)


class LabelledRow(msgspec.Struct, frozen=True, array_like=True):
    """One labelled row in prediction-time order: the truth (a class's index), the raw answer, the served loss."""

    time: float
    truth: float
    answer: list[float]
    loss: float


class DriftState(msgspec.Struct):
    """All that a restart needs."""

    since: float | None = None
    baseline: list[float] = []
    losses: BlockMeans | None = None
    recent: list[LabelledRow] = []
    gains: list[float] = []
    raw_gains: list[float] = []
    recalibrated: bool = False
    gains_since: float = float("-inf")
    judged: int = 0
    labelled: int = 0
    labelled_until: float = 0.0


def started(baseline: Iterable[float], since: float, block: float) -> DriftState:
    """Return the state in which a new champion is watched from `since` on, `baseline` its out-of-time block losses."""
    return DriftState(since=since, baseline=list(baseline), losses=BlockMeans(since, block))


class ConceptDrift:
    """Watches one champion (`started` makes its state); `rebase` takes its present loss as normal."""

    def __init__(self, rules: DriftRules, loss: Loss, state: DriftState) -> None:
        self.rules, self._loss, self.state = rules, loss, state

    def restart_gains(self, now: float) -> None:
        """Forget the challenger's past gains: a decision was taken on them."""
        self.state.gains, self.state.raw_gains, self.state.gains_since = [], [], now

    def recalibrated(self, on: bool, since: float) -> None:
        """From `since` on answers are corrected, or no longer: losses and gains are counted anew."""
        self.state.recalibrated = on
        if self.state.losses is not None:
            self.state.losses = BlockMeans(since, self.rules.block)
        self.restart_gains(since)

    def rebase(self, since: float) -> None:
        """Take the champion's newest losses as its baseline: no candidate was better, so the old alarm is answered."""
        if self.state.losses is None:
            return
        newest = self.state.losses.complete(self.state.labelled_until)[-4 * self.rules.memory :]
        if len(newest) >= 2:
            self.state.baseline = newest.tolist()
        self.state.losses = BlockMeans(since, self.rules.block)
        self.restart_gains(since)

    def update(self, rows: Iterable[LabelledRow]) -> None:
        """Take labelled rows of the champion in prediction-time order."""
        state = self.state
        if state.since is None or state.losses is None:
            return
        for row in rows:
            state.losses.add(row.time, row.loss)
            state.recent.append(row)
            state.labelled += 1
            state.labelled_until = max(state.labelled_until, row.time)
        self._judge_blocks()

    def signals(self, now: float, coverage: float) -> list[Signal]:
        """Return the signals as they stand; none before the champion has enough complete blocks."""
        state = self.state
        if state.since is None or state.losses is None:
            return []
        means = state.losses.complete(state.labelled_until)
        if len(means) < self.rules.minimum_blocks:
            return []
        common = {"labels": state.labelled, "coverage": coverage, "labelled_until": state.labelled_until}
        found = [self._loss_signal(means, now, common), self._gain_signal("challenger_gain", state.gains, now, common)]
        if state.recalibrated:
            found.append(self._gain_signal("raw_gain", state.raw_gains, now, common))
        return found

    def _loss_signal(self, means: NDArray[np.float64], now: float, common: dict[str, Any]) -> Signal:
        state, limit = self.state, self.rules.run_length
        assert state.losses is not None
        value = change_evidence(means, state.baseline)
        evidence = common | {
            "baseline": float(np.mean(state.baseline)) if state.baseline else None,
            "loss": float(means[-self.rules.memory :].mean()),
            "blocks": len(means),
        }
        return Signal("realised_loss", now, value, limit, value >= limit, state.losses.start, now, evidence)

    def _gain_signal(self, name: str, found: list[float], now: float, common: dict[str, Any]) -> Signal:
        state = self.state
        assert state.since is not None
        gains, limit = np.asarray(found), 1.0 / self.rules.alpha
        value = gain_evidence(gains, self.rules.memory, self.rules.minimum_blocks)
        evidence = common | {"gain": float(gains.mean()) if len(gains) else 0.0, "blocks": len(gains)}
        start = max(state.since, state.gains_since)
        return Signal(name, now, value, limit, value >= limit, start, now, evidence)

    def _judge_blocks(self) -> None:
        """Judge the challenger on each block that is complete by now, then forget rows older than its memory."""
        state, length = self.state, self.rules.block
        assert state.since is not None
        while state.since + (state.judged + 1) * length <= state.labelled_until:
            begin = state.since + state.judged * length
            before = [r for r in state.recent if begin - self.rules.memory * length <= r.time < begin]
            block = [r for r in state.recent if begin <= r.time < begin + length]
            state.judged += 1
            if block and begin >= state.gains_since:
                self._compare(before, block, begin)
        oldest = state.since + (state.judged - self.rules.memory) * length
        state.recent = [r for r in state.recent if r.time >= oldest]

    def _compare(self, before: list[LabelledRow], block: list[LabelledRow], begin: float) -> None:
        """Take what a level, and what the raw answers, would have gained on what was served in a block."""
        served, truth, raw = float(np.mean([r.loss for r in block])), _truth(block), self._answers(block)
        times = np.asarray([r.time for r in before])
        level = level_at(self.rules.level, times, _truth(before), self._answers(before), begin) if before else None
        if level is not None:
            self.state.gains.append(served - float(self._loss(truth, apply_level(raw, level)).mean()))
        if self.state.recalibrated:
            self.state.raw_gains.append(served - float(self._loss(truth, raw).mean()))

    def _answers(self, rows: list[LabelledRow]) -> NDArray[np.float64]:
        answers = np.asarray([r.answer for r in rows], dtype=np.float64)
        return answers[:, 0] if self.rules.task == "regression" else answers


def _truth(rows: list[LabelledRow]) -> NDArray[np.float64]:
    return np.asarray([r.truth for r in rows], dtype=np.float64)
