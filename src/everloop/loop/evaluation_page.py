"""An evaluation as a document: what its figures say, in sentences, tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from everloop.evaluation import Evaluation, main_metric
from everloop.evaluation.attacks import Attacked
from everloop.evaluation.counterfactuals import Said
from everloop.evaluation.otherwise import Otherwise
from everloop.loop.document import Block, Part, Picture, shown
from everloop.loop.document import page as html_page
from everloop.loop.evaluating import Evaluated
from everloop.loop.pictures import bars, line, reliability
from everloop.types import show_time

__all__ = ["attacks_told", "judged_on", "otherwise_told", "page", "parts", "ways_of"]


def page(done: Evaluated) -> str:
    """Return an evaluation as one HTML page without outside reference."""
    return html_page(f"{done.model} {done.version}", [judged_on(done.evaluation)], parts(done.evaluation))


def judged_on(found: Evaluation) -> str:
    """Return which rows the figures are of, and how their intervals are drawn."""
    span = f", {show_time(found.start)[:10]} to {show_time(found.end)[:10]}" if found.block else ""
    drawn = f"the {found.rows:,} rows again"
    if found.block:
        drawn = f"{found.blocks:,} blocks of {found.block / 3600:.4g} hours again, since rows of one are alike"
    told = f"Judged on {found.rows:,} rows{span}, by answers of fits that had not seen them."
    told += " They are raw; a gate judges them as they would be served, corrected where [recalibration] is on."
    return f"{told} Intervals are 95 %, by drawing {drawn}."


def parts(found: Evaluation) -> Iterator[Part]:
    """Give the parts of the document."""
    figures = [{"metric": n, "value": f.value, "low": f.low, "high": f.high} for n, f in found.metrics.items()]
    yield Part("Metrics", [figures])
    yield from _paired(found)
    yield from _slices(found)
    yield from _fairness(found)
    yield _calibration(found)
    yield _over_time(found)
    yield from _importances(found)
    yield from _robustness(found)
    yield from _attacks(found)
    yield from _counterfactuals(found)


def _paired(found: Evaluation) -> Iterator[Part]:
    if (told := found.paired) is None:
        return
    rows = {
        f"{told.name} of this version": told.metric,
        f"{told.name} of {told.rival}": told.rival_metric,
        "difference, positive is better": told.difference,
        "loss saved a row": told.lower_by,
        "blocks in which it loses less": f"{told.won:.0%} of {told.blocks:,}",
    }
    table: list[dict[str, Any]] = [{"figure": name, "value": value} for name, value in rows.items()]
    yield Part(f"Against {told.rival}", [f"On the same {told.rows:,} rows.", table])


def _slices(found: Evaluation) -> Iterator[Part]:
    if not found.slices:
        return
    rows = [
        {"slice": s.name, "rows": s.rows, "of all": f"{s.share:.1%}", "mean loss": s.loss, "times all": s.ratio,
         "worse": s.worse} for s in found.slices
    ]  # fmt: skip
    picture = bars([(s.name, s.ratio.value, s.ratio.low, s.ratio.high) for s in found.slices], mark=1.0)
    note = (
        "Leaves of a tree grown over the losses of one half of the rows, measured on the other. 1 is the loss of all "
        "rows."
    )
    yield Part("Where it fails", [note, Picture(picture), rows])


def _fairness(found: Evaluation) -> Iterator[Part]:
    for one in found.fairness:
        groups = [{one.column: group.name, "rows": group.rows, **group.figures} for group in one.groups]
        apart = [{"figure": name, "largest difference": figure} for name, figure in one.differences.items()]
        blocks: list[Block] = [groups, "How far two groups lie apart, at most:", apart]
        if one.left_out:
            blocks.append(f"Too few rows to compare: {', '.join(one.left_out)}.")
        yield Part(f"Fairness by {one.column}", blocks)


def _calibration(found: Evaluation) -> Part:
    told = found.calibration
    blocks: list[Block] = [f"The {told.of} is off by {shown(told.error)} on average, by tenths of the rows."]
    if told.coverage:
        blocks.append(
            f"In the older half of the rows, 90 % of true values lay between answer {told.coverage.low:+.4g} and "
            f"{told.coverage.high:+.4g}; in the newer half {shown(told.coverage.covered)} of them did."
        )
    blocks.append(Picture(reliability([(b.said, b.true.value, b.true.low, b.true.high) for b in told.bins])))
    return Part("Calibration", blocks)


def _over_time(found: Evaluation) -> Part:
    dated = [show_time(p.start)[:10] if found.block else f"part {n}" for n, p in enumerate(found.over_time, 1)]
    names = [f"{date}, {p.rows:,} rows" for date, p in zip(dated, found.over_time, strict=True)]
    metrics = [p.metric for p in found.over_time]
    told = f"{main_metric(found.task)} of {len(metrics)} stretches: {min(metrics):.4g} to {max(metrics):.4g}"
    blocks: list[Block] = [told, Picture(line(metrics, names))]
    biases = [p.bias for p in found.over_time if p.bias is not None]
    if len(biases) == len(names):
        of = "answers" if found.task == "regression" else f"the {found.calibration.of}"
        told = f"Mean error of {of}: {min(biases):.4g} to {max(biases):.4g}; above 0 is too high"
        blocks += [told, Picture(line(biases, names, zero=True))]
    return Part("Over time", blocks)


def _importances(found: Evaluation) -> Iterator[Part]:
    if not found.importances:
        return
    of = "answer" if found.task == "regression" else found.calibration.of
    rows = [
        {"column": one.column, "moves it by": one.moves, "of all": f"{one.share:.1%}",
         "rises with it": "-" if one.rises is None else f"{one.rises:+.2f}"} for one in found.importances
    ]  # fmt: skip
    picture = bars([(one.column, one.moves.value, one.moves.low, one.moves.high) for one in found.importances])
    note = (
        f"Mean size of Shapley values: how far each column moves the {of} away from the usual one. The last figure is "
        "the rank correlation of the number with what it adds."
    )
    yield Part("What answers depend on", [note, Picture(picture), rows])


def _robustness(found: Evaluation) -> Iterator[Part]:
    if not found.robustness:
        return
    measure = "the share of rows that get another label"
    if found.task == "regression":
        measure = "how far answers move, as a multiple of the error that is made anyway"
    rows = [{"change": one.change, "moves": one.by or "no usable answer"} for one in found.robustness]
    note = f"What wrong and missing inputs do: {measure}. Noise is a tenth of each number's spread."
    yield Part("Robustness", [note, rows])


def _attacks(found: Evaluation) -> Iterator[Part]:
    if (told := found.attacks) is None:
        return
    most = max([2 * told.bound, *told.distances[: int(0.9 * len(told.distances))]])
    at = np.linspace(0.0, most, 41)
    shares = [float(np.searchsorted(told.distances, one, "right")) / told.rows for one in at]
    blocks: list[Block] = [
        attacks_told(told),
        "Share of rows that flip, by the distance that is allowed. A distance is the root of the sum of squares of all "
        "changes, in units of each column's spread; who may ask more may find a shorter way.",
        Picture(line(shares, [f"within {one:.2g} spreads" for one in at])),
        [{f"{name} of rows flip within": far for name, far in told.quantiles.items()}],
    ]
    if told.columns:
        blocks.append("Which columns had to move: their mean share of the squared distance.")
        blocks.append(Picture(bars([(c.column, c.share.value, c.share.low, c.share.high) for c in told.columns])))
    yield Part("Attacks", blocks)


def attacks_told(told: Attacked) -> str:
    """Return in a sentence what attacks came to."""
    return (
        f"HopSkipJump made {told.flipped:,} of {told.rows:,} rows flip ({told.flips}), with {told.asked:,} questions; "
        f"within {told.bound:g} spreads it is {shown(told.within)} of them."
    )


def _counterfactuals(found: Evaluation) -> Iterator[Part]:
    if found.counterfactuals is None:
        return
    blocks: list[Block] = [
        "For the right answer, in the rows that the model answers most wrongly; values of real rows."
    ]
    for one in found.counterfactuals:
        blocks += [otherwise_told(one), ways_of(one)]
    if not found.counterfactuals:
        blocks.append("The model answers none of these rows wrongly.")
    yield Part("What would have had to be different", blocks)


def otherwise_told(one: Otherwise) -> str:
    """Return in a sentence which row was asked for which answer."""
    truth = "" if one.truth is None else f", true is {_answer(one.truth)}"
    where = f" ({one.where})" if one.where else ""
    none = "" if one.ways else ": no near row shows a way"
    return f"{one.row}{where}: the answer is {_said(one.answer)}{truth}. For {one.wanted}{none or ':'}"


def ways_of(one: Otherwise) -> list[dict[str, Any]]:
    """Return the rows of a table of ways to another answer."""
    return [
        {"way": number, "column": change.column, "is": _value(change.before), "would be": _value(change.after),
         "answer": _said(way.answer)} for number, way in enumerate(one.ways, 1) for change in way.changes
    ]  # fmt: skip


def _said(told: Said) -> str:
    return _answer(told.value) + (f" ({told.probability:.0%})" if told.probability is not None else "")


def _answer(value: Any) -> str:
    """Return a value in few digits, or a label as `--wanted` names it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _value(value: Any) -> str:
    return "missing" if value is None or value == "" else f"{value:.6g}" if isinstance(value, float) else str(value)
