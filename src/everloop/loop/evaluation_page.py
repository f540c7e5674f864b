"""An evaluation as one page: no script, nothing from outside."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from everloop.data.profile_page import STYLE
from everloop.evaluation import Evaluation, main_metric
from everloop.evaluation.intervals import Figure
from everloop.loop.evaluating import Evaluated
from everloop.loop.pictures import bars, line, reliability
from everloop.types import show_time

__all__ = ["document", "page", "sections", "shown", "table"]


def page(done: Evaluated) -> str:
    """Return an evaluation as one HTML page without outside reference."""
    title, found = f"{done.model} {done.version}", done.evaluation
    span = f", {show_time(found.start)[:10]} to {show_time(found.end)[:10]}" if found.block else ""
    intro = (
        f"<h1>{_e(title)}</h1><p class=quiet>Judged on {found.rows:,} rows{span}, by answers of fits that had not "
        f"seen them. Intervals are 95 %, {_drawn(found)}.</p>"
    )
    return document(title, intro + "".join(sections(done)))


def document(title: str, body: str) -> str:
    """Return a whole page in the style of all pages."""
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{_e(title)}</title>"
    view = '<meta name=viewport content="width=device-width, initial-scale=1">'
    return f"{head}{view}<style>{STYLE}</style><main>{body}</main></html>\n"


def sections(done: Evaluated) -> Iterator[str]:
    """Give the parts of the page."""
    found = done.evaluation
    yield _part("Metrics", table([{"metric": name, **_figure(one)} for name, one in found.metrics.items()]))
    yield from _paired(found)
    yield from _slices(found)
    yield from _calibration(found)
    yield from _over_time(found)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same fields as a table."""
    if not rows:
        return "<p>none</p>"
    numbers = {
        name for name, value in rows[0].items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    kinds = {name: " class=n" if name in numbers else "" for name in rows[0]}
    head = "".join(f"<th{kinds[name]}>{_e(name.replace('_', ' '))}" for name in rows[0])
    body = "".join(
        f"<tr>{''.join(f'<td{kinds[name]}>{_e(shown(value))}' for name, value in row.items())}</tr>" for row in rows
    )
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def shown(value: Any) -> str:
    """Return a value of a table as text."""
    if isinstance(value, Figure):
        between = f" ({value.low:.4g} to {value.high:.4g})" if value.low is not None else ""
        return f"{value.value:.4g}{between}"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def _drawn(found: Evaluation) -> str:
    if not found.block:
        return f"by drawing the {found.rows:,} rows again"
    return f"by drawing {found.blocks:,} blocks of {found.block / 3600:.4g} hours again, since rows of one are alike"


def _paired(found: Evaluation) -> Iterator[str]:
    if (told := found.paired) is None:
        return
    rows = {
        f"{told.name} of this version": told.metric,
        f"{told.name} of {told.rival}": told.rival_metric,
        "difference, positive is better": told.difference,
        "loss saved a row": told.lower_by,
        "blocks in which it loses less": f"{told.won:.0%} of {told.blocks:,}",
    }
    body = table([{"": name, "value": value} for name, value in rows.items()])
    yield _part(f"Against {told.rival}", f"<p class=quiet>On the same {told.rows:,} rows.</p>{body}")


def _slices(found: Evaluation) -> Iterator[str]:
    if not found.slices:
        return
    rows = [
        {"slice": s.name, "rows": s.rows, "of_all": f"{s.share:.1%}", "mean_loss": s.loss, "times_all": s.ratio,
         "worse": s.worse} for s in found.slices
    ]  # fmt: skip
    picture = bars([(s.name, s.ratio.value, s.ratio.low, s.ratio.high) for s in found.slices], mark=1.0)
    note = (
        "<p class=quiet>Leaves of a tree grown over the losses of one half of the rows, measured on the other. "
        "1 is the loss of all rows.</p>"
    )
    yield _part("Where it fails", f"{note}{picture}{table(rows)}")


def _calibration(found: Evaluation) -> Iterator[str]:
    told = found.calibration
    picture = reliability([(b.said, b.true.value, b.true.low, b.true.high) for b in told.bins])
    text = f"<p>The {_e(told.of)} is off by {_e(shown(told.error))} on average, by tenths of the rows.</p>"
    if told.coverage:
        text += (
            f"<p>In the older half of the rows, 90 % of true values lay between answer {told.coverage.low:+.4g} and "
            f"{told.coverage.high:+.4g}; in the newer half {_e(shown(told.coverage.covered))} of them did.</p>"
        )
    yield _part("Calibration", text + picture)


def _over_time(found: Evaluation) -> Iterator[str]:
    dated = [show_time(p.start)[:10] if found.block else f"part {n}" for n, p in enumerate(found.over_time, 1)]
    names = [f"{date}, {p.rows:,} rows" for date, p in zip(dated, found.over_time, strict=True)]
    metric = main_metric(found.task)
    body = f"<p class=quiet>{metric}</p>{line([p.metric for p in found.over_time], names)}"
    biases = [p.bias for p in found.over_time if p.bias is not None]
    if len(biases) == len(names):
        of = "of answers" if found.task == "regression" else f"of the {found.calibration.of}"
        body += f"<p class=quiet>Mean error {_e(of)}: above the line is too high</p>{line(biases, names, zero=True)}"
    yield _part("Over time", body)


def _figure(one: Figure) -> dict[str, Any]:
    return {"value": one.value, "low": one.low, "high": one.high}


def _part(title: str, body: str) -> str:
    return f"<h2>{_e(title)}</h2><div class=card>{body}</div>"


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)
