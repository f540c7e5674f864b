"""A profile as one page: no script, nothing from outside, readable by day and by night."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from everloop.data.comparing import Shift
from everloop.data.profile import Bar, ColumnProfile, Profile

__all__ = ["render"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #64748b; --line: #e2e8f0; --page: #f8fafc; --card: #fff;
  --bar: #0f766e; --other: #c2410c; --warn: #b45309; --soft: #ccfbf1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --quiet: #94a3b8; --line: #334155; --page: #0b1220;
  --card: #131c2e; --bar: #2dd4bf; --other: #fb923c; --warn: #fbbf24; --soft: #134e4a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
.quiet, small { color: var(--quiet); } .warn { color: var(--warn); font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: .9rem 1.1rem; }
.tile b { display: block; font-size: 1.2rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 1rem; }
.head { display: flex; justify-content: space-between; gap: 1rem; align-items: baseline; }
.tag { font-size: .75rem; padding: .05rem .55rem; border-radius: 99px; background: var(--soft); white-space: nowrap; }
svg { display: block; width: 100%; height: auto; margin: .5rem 0 0; overflow: visible; }
svg text { font: 10px system-ui, sans-serif; fill: var(--quiet); }
table { border-collapse: collapse; width: 100%; min-width: 640px; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--quiet); font-size: .85rem; } td.n, th.n { text-align: right; }
dl { display: grid; grid-template-columns: repeat(4, 1fr); gap: .2rem .8rem; margin: .6rem 0 0; font-size: .85rem; }
dl div { display: flex; flex-direction: column; } dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
"""


def render(profile: Profile, shifts: Sequence[Shift] = (), against: str = "", notes: Sequence[str] = ()) -> str:
    """Return the page; `shifts` are the columns' against the version `against`, `notes` what a person should read."""
    parts = [
        f"<h1>{_e(profile.name)}</h1><p class=quiet>What the rows look like, before anything is learned from them.</p>",
        *_tiles(profile),
        *_notes(notes),
        *_coverage(profile),
        *_drift(shifts, against),
        *_overview(profile),
        *_cards(profile),
        *_correlations(profile),
    ]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{_e(profile.name)}</title>"
    view = '<meta name=viewport content="width=device-width, initial-scale=1">'
    return f"{head}{view}<style>{STYLE}</style><main>{''.join(parts)}</main></html>\n"


def _tiles(profile: Profile) -> Iterator[str]:
    cells = sum(c.rows for c in profile.columns) or 1
    missing = sum(c.missing for c in profile.columns) / cells
    told = [
        ("rows", f"{profile.rows:,}"),
        ("columns", f"{len(profile.columns):,}"),
        ("missing values", f"{missing:.2%}"),
        ("double rows", f"{profile.duplicates:,}"),
    ]
    if profile.time:
        told += [("from", profile.start[:10]), ("to", profile.end[:10]), ("longest gap", _span(profile.longest_gap))]
    tiles = (f"<div class=tile><small>{name}</small><b>{_e(value)}</b></div>" for name, value in told)
    yield f"<div class=tiles>{''.join(tiles)}</div>"


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        yield f"<h2>To look at</h2><div class=card>{''.join(f'<p class=warn>{_e(note)}</p>' for note in notes)}</div>"


def _coverage(profile: Profile) -> Iterator[str]:
    if profile.coverage:
        yield "<h2>Rows over time</h2><div class=card>"
        yield _bars(profile.coverage, width=1100, height=120)
        yield "</div>"


def _drift(shifts: Sequence[Shift], against: str) -> Iterator[str]:
    if not shifts:
        return
    yield f"<h2>Against {_e(against)}</h2><div class='card wide'><table><tr><th>column<th>before<th>now"
    yield "<th class=n>distance<th class=n>chance<th class=n>missing before<th class=n>now</tr>"
    for s in shifts:
        name = f"<b class=warn>{_e(s.column)}</b>" if s.shifted else _e(s.column)
        yield f"<tr><td>{name}<td>{_e(s.before)}<td>{_e(s.after)}"
        yield f"<td class=n>{s.distance:.3f}<td class=n>{s.p_value:.2g}"
        yield f"<td class=n>{s.missing_before:.1%}<td class=n>{s.missing_after:.1%}</tr>"
    yield "</table><small>Kolmogorov-Smirnov for numbers, Cramér's V of the chi-squared test for all else; marked are "
    yield "distances from 0.1 on whose chance, over the number of columns, is below 1 %.</small></div>"


def _overview(profile: Profile) -> Iterator[str]:
    yield "<h2>Columns</h2><div class='card wide'><table><tr><th>column<th>type<th class=n>missing<th class=n>distinct"
    yield "<th class=n>outliers<th>from<th>to</tr>"
    for c in profile.columns:
        share = c.missing / c.rows if c.rows else 0.0
        missing = f"<span class=warn>{share:.1%}</span>" if share > 0.2 else f"{share:.1%}"
        link = f"<a href='#{_anchor(c.name)}' style='color:inherit'>{_e(c.name)}</a>"
        yield f"<tr><td>{link}<td>{c.type}<td class=n>{missing}<td class=n>{c.distinct:,}"
        yield f"<td class=n>{c.outliers or ''}<td>{_e(c.minimum)}<td>{_e(c.maximum)}</tr>"
    yield "</table></div>"


def _cards(profile: Profile) -> Iterator[str]:
    first = sorted(profile.columns, key=lambda c: c.name != profile.target)
    yield "<h2>One by one</h2><div class=cards>"
    for column in first:
        yield f"<section class=card id='{_anchor(column.name)}'><div class=head><h3>{_e(column.name)}</h3>"
        yield f"<span class=tag>{'target' if column.name == profile.target else column.type}</span></div>"
        if column.bars:
            yield _bars(column.bars) if column.type in ("number", "time") else _rows(column.bars)
        if column.target:
            yield f"<p style='margin:.9rem 0 0'><small>{_e(profile.shown)}, by {_e(column.name)}</small></p>"
            yield _points(column.target) if column.type == "number" else _rows(column.target, "--other")
        yield f"<dl>{''.join(_facts(column))}</dl></section>"
    yield "</div>"


def _facts(c: ColumnProfile) -> Iterator[str]:
    told = {"missing": f"{c.missing:,}", "distinct": f"{c.distinct:,}"}
    if c.outliers:
        told["outliers"] = f"{c.outliers:,}"
    if c.mean is not None and c.deviation is not None:
        told |= {"mean": _n(c.mean), "deviation": _n(c.deviation)}
    told |= {f"{float(q):.0%}": _n(v) for q, v in c.quantiles.items()}
    for name, value in told.items():
        yield f"<div><dt>{name}</dt><dd>{value}</dd></div>"


def _correlations(profile: Profile) -> Iterator[str]:
    if not profile.correlations:
        return
    count, size, left = len(profile.numbers), 26, 150
    yield "<h2>How numbers go together</h2><div class='card wide'><p class=quiet>Spearman's rank correlation.</p>"
    width = left + count * size + 60
    yield f"<svg viewBox='0 0 {width} {count * size + 90}' style='max-width:{width}px'>"
    for i, (name, row) in enumerate(zip(profile.numbers, profile.correlations, strict=True)):
        yield f"<text x={left - 8} y={i * size + 17} text-anchor=end>{_e(name[:24])}</text>"
        turn = f"translate({left + i * size + 15} {count * size + 12}) rotate(40)"
        yield f"<text transform='{turn}'>{_e(name[:16])}</text>"
        for j, value in enumerate(row):
            colour = "--bar" if value >= 0 else "--other"
            yield f"<rect x={left + j * size} y={i * size} width={size - 2} height={size - 2} rx=4 "
            yield f"fill='var({colour})' fill-opacity='{max(0.04, abs(value)):.2f}'>"
            yield f"<title>{_e(name)}, {_e(profile.numbers[j])}: {value:.2f}</title></rect>"
    yield "</svg></div>"


def _bars(bars: Sequence[Bar], width: int = 340, height: int = 90) -> str:
    """Return upright bars, the first and the last named."""
    most, step = max(bar.value for bar in bars) or 1.0, width / len(bars)
    drawn = []
    for place, bar in enumerate(bars):
        high = max(0.5, bar.value / most * height) if bar.value else 0.0
        drawn.append(
            f"<rect x={place * step:.1f} y={height - high:.1f} width={max(1.0, step - 1.5):.1f} height={high:.1f} "
            f"rx=1.5 fill='var(--bar)'><title>{_e(bar.name)}: {bar.value:,.0f}</title></rect>"
        )
    ends = f"<text x=0 y={height + 13}>{_e(bars[0].name)}</text>"
    ends += f"<text x={width} y={height + 13} text-anchor=end>{_e(bars[-1].name)}</text>"
    return f"<svg viewBox='0 0 {width} {height + 18}'>{''.join(drawn)}{ends}</svg>"


def _rows(bars: Sequence[Bar], colour: str = "--bar") -> str:
    """Return lying bars, each named, with its value."""
    most, step, left, width = max(abs(bar.value) for bar in bars) or 1.0, 17, 110, 340
    drawn = []
    for place, bar in enumerate(bars):
        long = abs(bar.value) / most * (width - left - 60)
        shown = f"{bar.value:,.0f}" if not bar.rows else f"{bar.value:.4g}"
        drawn.append(
            f"<text x={left - 8} y={place * step + 12} text-anchor=end>{_e(bar.name[:18] or '(empty)')}</text>"
            f"<rect x={left} y={place * step + 3} width={max(0.5, long):.1f} height=11 rx=2 fill='var({colour})'>"
            f"<title>{_e(bar.name)}: {shown}</title></rect>"
            f"<text x={left + long + 6:.1f} y={place * step + 12}>{shown}</text>"
        )
    return f"<svg viewBox='0 0 {width} {len(bars) * step + 4}'>{''.join(drawn)}</svg>"


def _points(bars: Sequence[Bar], width: int = 340, height: int = 70) -> str:
    """Return a line through the target's values, by tenths of a number."""
    low, high = min(bar.value for bar in bars), max(bar.value for bar in bars)
    spread, step = (high - low) or 1.0, width / max(1, len(bars) - 1)
    at = [(place * step, height - (bar.value - low) / spread * (height - 8) - 4) for place, bar in enumerate(bars)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dots = "".join(
        f"<circle cx={x:.1f} cy={y:.1f} r=3 fill='var(--other)'><title>from {_e(bar.name)}: {bar.value:.4g} "
        f"({bar.rows:,} rows)</title></circle>"
        for (x, y), bar in zip(at, bars, strict=True)
    )
    ends = f"<text x=0 y={height + 13}>{_e(bars[0].name)} …</text>"
    ends += f"<text x={width} y={height + 13} text-anchor=end>{low:.4g} to {high:.4g}</text>"
    path = f"<polyline points='{line}' fill=none stroke='var(--other)' stroke-width=2 />"
    return f"<svg viewBox='-4 0 {width + 8} {height + 18}'>{path}{dots}{ends}</svg>"


def _n(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.5g}"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _anchor(name: str) -> str:
    return "c-" + "".join(c if c.isalnum() else "-" for c in name)


def _e(text: str) -> str:
    return html.escape(text, quote=True)
