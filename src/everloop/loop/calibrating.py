"""Recalibration: a level beside each model that follows the newest labels, approved as a procedure, not value by value.

What the procedure is worth is told before it serves, by the rows that a model was judged on out of time, and while it
serves by every prediction, whose raw answer is journalled beside the corrected one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.data import Schema
from everloop.evaluation import losses
from everloop.inference import Model, judged_rows
from everloop.monitoring import DriftRules, LabelledRow
from everloop.statistics import block_means, gain_evidence, level_at, levelled
from everloop.types import Task

__all__ = ["Calibration", "Reference", "follow", "reference_of", "rules_of"]

STEP = 0.01
"""A level that moved by less is left as it is: each new one is a new plan."""


class Calibration(msgspec.Struct):
    """Whether answers are corrected, the newest labelled rows (raw answers) by version, and the levels that serve."""

    on: bool = False
    rows: dict[str, list[LabelledRow]] = {}
    levels: dict[str, list[float]] = {}
    updates: int = 0


class Reference(msgspec.Struct, frozen=True):
    """What the out-of-time rows of a model say: mean losses by block, raw and as a level would have corrected them."""

    rules: DriftRules
    rows: list[LabelledRow]
    baseline: list[float]
    levelled: list[float]
    evidence: float
    """That correcting gains: an e-value, held against one over the signals' alpha."""


def rules_of(task: Task, block: float, bounds: tuple[float, float] | None) -> DriftRules:
    """Return the rules of a champion's detector and of its level; without `bounds` it only challenges."""
    return DriftRules(task, block) if bounds is None else DriftRules(task, block, bounds=bounds)


def reference_of(model: Model, block: float, bounds: tuple[float, float] | None) -> Reference:
    """Return what the rows in a model's bundle say about it and about the procedure."""
    schema = msgspec.json.decode(model.bundle.read("schema.json"), type=Schema)
    rules = rules_of(schema.task, block, bounds)
    judged = judged_rows(model.bundle)
    truth, answers, times = judged.truth(schema.classes), judged.answers, judged.times
    raw = losses(schema.task, truth, answers)
    corrected = losses(schema.task, truth, levelled(rules.level, times, truth, answers))
    start = float(times[0])
    plain, better = (block_means(times, lost, rules.block, start) for lost in (raw, corrected))
    rows = [
        LabelledRow(float(t), float(y), np.atleast_1d(a).tolist(), float(lost))
        for t, y, a, lost in zip(times, truth, answers, raw, strict=True)
        if t > times[-1] - rules.memory * rules.block
    ]
    evidence = gain_evidence(_judged(plain - better), rules.memory, rules.minimum_blocks)
    return Reference(rules, rows, plain[-28:].tolist(), better[-28:].tolist(), evidence)


def follow(state: Calibration, rules: DriftRules, fresh: Mapping[str, Sequence[LabelledRow]], until: float) -> bool:
    """Take labelled rows of the versions that serve, forget others, refresh the levels; tells whether one moved.

    Rows older than the memory before `until`, the newest labelled time, do not count.
    """
    oldest = until - rules.memory * rules.block
    state.rows = {v: [r for r in (*state.rows.get(v, ()), *rows) if r.time > oldest] for v, rows in fresh.items()}
    levels = {v: _level(rules, rows, until, state.levels.get(v)) for v, rows in state.rows.items()} if state.on else {}
    kept = {version: level for version, level in levels.items() if level}
    if kept == state.levels:
        return False
    state.levels, state.updates = kept, state.updates + 1
    return True


def _level(
    rules: DriftRules, rows: Sequence[LabelledRow], until: float, before: list[float] | None
) -> list[float] | None:
    times = np.asarray([r.time for r in rows])
    truth, answers = np.asarray([r.truth for r in rows]), np.asarray([r.answer for r in rows], dtype=np.float64)
    if rules.task == "regression" and len(rows):
        answers = answers[:, 0]
    level = level_at(rules.level, times, truth, answers, until)
    if level is None or (before and _close(level, before)):
        return before
    return [round(float(value), 6) for value in level]


def _close(level: NDArray[np.float64], before: list[float]) -> bool:
    return bool(np.allclose(level, before, rtol=STEP, atol=0.0))


def _judged(gains: NDArray[Any]) -> NDArray[np.float64]:
    """Leave out the first blocks, before which there was nothing to learn a level from."""
    changed = np.flatnonzero(gains)
    return np.asarray(gains[changed[0] :] if len(changed) else gains, dtype=np.float64)
