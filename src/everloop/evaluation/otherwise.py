"""Rows that are asked what would have had to be different, and for which answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.errors import UsageError, close_match
from everloop.evaluation.answered import Answered, spread_out
from everloop.evaluation.counterfactuals import Counterfactual, Said, Wanted, changeable, counterfactuals, said
from everloop.evaluation.explanations import Predict
from everloop.evaluation.metrics import losses
from everloop.evaluation.slices import Slice, holds

__all__ = ["Otherwise", "otherwise", "wanted_of", "worst_otherwise"]

POOL, WORST = 10_000, 3
"""Real rows that values are taken from, and rows of a slice that are looked at."""


class Otherwise(msgspec.Struct, frozen=True):
    """A row, the model's answer to it, the truth where it is known, the answer that is `wanted`, and ways to it.

    `where` is the slice that the row stands for; without `ways` none was found.
    """

    row: str
    answer: Said
    wanted: str
    ways: list[Counterfactual]
    truth: Any = None
    where: str = ""


def otherwise(
    name: str, row: dict[str, NDArray[Any]], rows: Answered, predict: Predict, asked: str | None, kept: Collection[str]
) -> Otherwise:
    """Return what would have to be different in a row for the answer that is asked for.

    Raises `UsageError` where the model has no usable answer to it.
    """
    before = predict(row)[0]
    if not np.isfinite(before).all():
        raise UsageError(f"{name}: the model's answer to it is no number, so nothing could turn it")
    wanted, words = wanted_of(rows.classes, asked, before)
    pool = rows.take(spread_out(len(rows), POOL)).inputs
    free = changeable(rows.columns, kept)
    ways = counterfactuals(row, pool, predict(pool), predict, wanted, free, rows.classes)
    return Otherwise(name, said(before, rows.classes), words, ways)


def worst_otherwise(rows: Answered, predict: Predict, worst: Sequence[Slice], kept: Collection[str]) -> list[Otherwise]:
    """Return what would have to be different for the right answer in rows that the model answers most wrongly.

    They are those of the slice that fails most, where there is one. The right answer is the true label, or a value no
    farther from the true one than answers usually are. Rows that the model answers right, now that it has learnt of
    them, are not among them.
    """
    free, answers = changeable(rows.columns, kept), predict(rows.inputs)
    where = next((one for one in worst if one.worse), None)
    there = holds(where.conditions, rows.inputs) if where else np.ones(len(rows), dtype=np.bool_)
    usual = float(np.sqrt(rows.losses.mean()))
    lost = losses(rows.task, rows.truth, answers)
    wrong = lost > usual**2 if rows.task == "regression" else answers.argmax(1) != rows.truth
    places = np.flatnonzero(there & wrong)
    pool = spread_out(len(rows), POOL)
    found = []
    for place in places[np.argsort(-lost[places], kind="stable")[:WORST]].tolist():
        row = {name: values[place : place + 1] for name, values in rows.inputs.items()}
        wanted, words = _right(rows, place, usual)
        ways = counterfactuals(
            row, rows.take(pool).inputs, answers[pool], predict, wanted, free, rows.classes
        )  # fmt: skip
        truth = rows.classes[int(rows.truth[place])] if rows.classes else float(rows.truth[place])
        told = said(answers[place], rows.classes)
        found.append(Otherwise(f"row {place + 1}", told, words, ways, truth, where.name if where else ""))
    return found


def wanted_of(classes: Sequence[Any], asked: str | None, before: Any) -> tuple[Wanted, str]:
    """Return what tells wanted answers, and its words: a label, by default any other; `above X` or `below X` of values.

    Raises `UsageError` for what is no answer of the model, or is its answer already.
    """
    if not classes:
        return _side(asked, float(before))
    label = int(np.argmax(before))
    if asked is None:
        return lambda answers: np.asarray(answers.argmax(1) != label), f"another label than {classes[label]}"
    known = [str(one) for one in classes]
    if asked not in known:
        raise UsageError(f"--wanted {asked}: no label of the model{close_match(asked, known)}")
    other = known.index(asked)
    if other == label:
        raise UsageError(f"--wanted {asked}: that is the answer already")
    return lambda answers: np.asarray(answers.argmax(1) == other), asked


def _side(asked: str | None, before: float) -> tuple[Wanted, str]:
    side, _, number = (asked or "").partition(" ")
    try:
        bound = float(number)
    except ValueError:
        bound = float("nan")
    if side not in ("above", "below") or not np.isfinite(bound):
        told = f"--wanted {asked}" if asked else "of values, a wanted answer is to be named"
        raise UsageError(f"{told}: write --wanted 'above {before:.4g}', or below")
    if (before > bound) if side == "above" else (before < bound):
        raise UsageError(f"--wanted {asked}: the answer {before:.4g} is that already")
    if side == "above":
        return lambda answers: np.asarray(answers > bound), f"above {bound:.4g}"
    return lambda answers: np.asarray(answers < bound), f"below {bound:.4g}"


def _right(rows: Answered, place: int, usual: float) -> tuple[Wanted, str]:
    if rows.task == "regression":
        truth = float(rows.truth[place])
        return lambda answers: np.abs(answers - truth) <= usual, f"within {usual:.4g} of {truth:.4g}"
    label = int(rows.truth[place])
    return lambda answers: np.asarray(answers.argmax(1) == label), str(rows.classes[label])
