"""An evaluation as a document: what its figures say, in sentences, tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from everloop.evaluation import Evaluation, main_metric
from everloop.loop.document import Block, Part, Picture, shown
from everloop.loop.document import page as html_page
from everloop.loop.evaluating import Evaluated
from everloop.loop.pictures import bars, line, reliability
from everloop.types import show_time

__all__ = ["judged_on", "page", "parts"]


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
