"""The report of a rollout as a page: what was decided, the effect as it became known, checks, slices and exposure."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["page"]

INK, EFFECT = "#1c2430", "#0f766e"
STYLE = (
    "body{font:15px/1.5 sans-serif;color:#1c2430;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{padding:.2rem 1.2rem .2rem 0;text-align:left;vertical-align:top}"
    "th{font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}th+td.n{text-align:left}svg{max-width:100%}"
    ".pass{color:#0f766e}.fail{color:#b91c1c}.inconclusive{color:#92400e}"
)
_FACTS = ("status", "strategy", "started", "ended", "labelled_until", "label_coverage")


def page(told: dict[str, Any]) -> str:
    """Return the report of a rollout as one HTML page without outside reference."""
    title = f"Rollout {told['rollout']}: {told['candidate']} against {told['champion']}"
    exposure = told["exposure"]
    sides = [{"variant": side, **exposure[side]} for side in ("champion", "candidate")]
    parts = (
        f"<h1>{_text(title)}</h1><p>{_text(told['reason'])}</p>",
        _facts({name: told[name] for name in _FACTS} | told["counted"]),
        f"<h2>Effect</h2><figure>{_picture(told['over_time'])}</figure>{_facts(told['effect'])}",
        f"<h2>Checks</h2>{_checks(told['checks'])}",
        f"<h2>Slices</h2>{_rows(told['slices'])}" if told["slices"] else "",
        f"<h2>Exposure</h2>{_rows(sides)}{_facts({'share_now': exposure['share_now'], **exposure['sample_ratio']})}",
    )
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _facts(told: dict[str, Any]) -> str:
    return _table((), ([f"<th>{_name(name)}</th>", _cell(value)] for name, value in told.items()))


def _checks(checks: dict[str, dict[str, Any]]) -> str:
    return _table(
        ("check", "outcome", "reason"),
        (
            [_cell(name), f'<td class="{_text(one["outcome"])}">{_text(one["outcome"])}</td>', _cell(one["reason"])]
            for name, one in checks.items()
        ),
    )


def _rows(told: list[dict[str, Any]]) -> str:
    return _table(tuple(told[0]), ([_cell(value) for value in row.values()] for row in told))


def _table(names: Sequence[str], rows: Iterable[list[str]]) -> str:
    lines = [[f"<th>{_name(name)}</th>" for name in names], *rows]
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in lines if cells)
    return f"<table>{body}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="n">{value:.4g}</td>' if isinstance(value, float) else f'<td class="n">{value:,}</td>'
    if isinstance(value, list):
        value = " to ".join(f"{one:.4g}" for one in value)
    return f"<td>{_text('-' if value in (None, '') else value)}</td>"


def _name(name: str) -> str:
    return _text(name.replace("_", " "))


def _text(value: Any) -> str:
    return html.escape(str(value))


def _picture(over_time: list[dict[str, Any]]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    blocks = [one["blocks"] for one in over_time]
    axes.plot(blocks, [one["lower_by"] for one in over_time], color=EFFECT, label="lower loss of the candidate")
    bounded = [one for one in over_time if one["interval"]]
    low, high = ([one["interval"][end] for one in bounded] for end in (0, 1))
    axes.fill_between(
        [one["blocks"] for one in bounded], low, high, color=EFFECT, alpha=0.2, label="interval at any time"
    )
    axes.axhline(0.0, color=INK, lw=0.8)
    axes.set_xlabel("labelled blocks of time")
    axes.set_ylabel("loss saved")
    axes.legend(frameon=False)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]
