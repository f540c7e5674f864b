"""Small pictures for pages: SVG without script, in the colours of the page."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

__all__ = ["bars", "line", "reliability"]

WIDTH, HEIGHT, LEFT, FOOT = 1100, 200, 60, 22


def line(values: Sequence[float], names: Sequence[str], *, zero: bool = False, bands: Sequence[str] = ()) -> str:
    """Return a line through values in their order; `names` say what stands at each, `zero` draws that line."""
    low, high = min([*values, 0.0] if zero else values), max([*values, 0.0] if zero else values)
    spread = (high - low) or 1.0
    step = (WIDTH - LEFT) / max(1, len(values) - 1)

    def at(value: float) -> float:
        return HEIGHT - 8 - (value - low) / spread * (HEIGHT - 16)

    points = " ".join(f"{LEFT + place * step:.1f},{at(value):.1f}" for place, value in enumerate(values))
    dots = "".join(
        f"<circle cx={LEFT + place * step:.1f} cy={at(value):.1f} r=3 fill='var(--bar)'>"
        f"<title>{_e(name)}: {value:.4g}{_e(bands[place]) if bands else ''}</title></circle>"
        for place, (value, name) in enumerate(zip(values, names, strict=True))
    )
    floor = f"<line x1={LEFT} x2={WIDTH} y1={at(0):.1f} y2={at(0):.1f} stroke='var(--quiet)' stroke-dasharray=4 />"
    ends = f"<text x={LEFT} y={HEIGHT + 14}>{_e(names[0])}</text>"
    ends += f"<text x={WIDTH} y={HEIGHT + 14} text-anchor=end>{_e(names[-1])}</text>"
    scale = f"<text x={LEFT - 8} y=14 text-anchor=end>{high:.4g}</text>"
    scale += f"<text x={LEFT - 8} y={HEIGHT - 4} text-anchor=end>{low:.4g}</text>"
    drawn = f"<polyline points='{points}' fill=none stroke='var(--bar)' stroke-width=2 />"
    return f"<svg viewBox='0 0 {WIDTH} {HEIGHT + FOOT}'>{floor if zero else ''}{drawn}{dots}{scale}{ends}</svg>"


def reliability(points: Sequence[tuple[float, float, float | None, float | None]]) -> str:
    """Return what was said against what was true (with its interval), beside the line where both agree."""
    told = [value for point in points for value in point if value is not None]
    low, high, size = min(told), max(told), 360
    spread = (high - low) or 1.0

    def at(value: float) -> float:
        return (value - low) / spread * (size - 20) + 10

    parts = [f"<line x1=10 y1={size - 10} x2={size - 10} y2=10 stroke='var(--quiet)' stroke-dasharray=4 />"]
    for said, true, least, most in points:
        x = at(said)
        if least is not None and most is not None:
            parts.append(
                f"<line x1={x:.1f} x2={x:.1f} y1={size - at(least):.1f} y2={size - at(most):.1f} stroke='var(--bar)' />"
            )
        parts.append(
            f"<circle cx={x:.1f} cy={size - at(true):.1f} r=4 fill='var(--bar)'>"
            f"<title>said {said:.4g}, true {true:.4g}</title></circle>"
        )
    parts.append(f"<text x=10 y={size + 14}>{low:.4g}</text><text x=10 y=10>true</text>")
    parts.append(f"<text x={size - 10} y={size + 14} text-anchor=end>{high:.4g} said</text>")
    return f"<svg viewBox='0 0 {size} {size + FOOT}' style='max-width:420px'>{''.join(parts)}</svg>"


def bars(rows: Sequence[tuple[str, float, float | None, float | None]], mark: float | None = None) -> str:
    """Return lying bars with their names and intervals; `mark` draws a line at one value."""
    ends = [value for _, *values in rows for value in values if value is not None]
    most = max([*np.abs(ends), abs(mark or 0.0)]) or 1.0
    left, step, long = 470, 24, WIDTH - 470 - 90
    parts = []
    for place, (name, value, low, high) in enumerate(rows):
        y, end = place * step, abs(value) / most * long
        colour = "--bar" if value >= 0 else "--other"
        parts.append(f"<text x={left - 8} y={y + 15} text-anchor=end>{_e(_short(name))}</text>")
        parts.append(f"<rect x={left} y={y + 4} width={max(0.5, end):.1f} height=14 rx=2 fill='var({colour})' />")
        told = f"{value:.4g}"
        if low is not None and high is not None:
            x1, x2 = (left + abs(v) / most * long for v in (low, high))
            parts.append(f"<line x1={x1:.1f} x2={x2:.1f} y1={y + 11} y2={y + 11} stroke='var(--ink)' />")
            told += f" ({low:.4g} to {high:.4g})"
        parts.append(f"<title>{_e(name)}: {told}</title><text x={WIDTH - 84} y={y + 15}>{value:.4g}</text>")
    if mark is not None:
        x = left + mark / most * long
        parts.append(f"<line x1={x:.1f} x2={x:.1f} y1=0 y2={len(rows) * step} stroke='var(--other)' />")
    return f"<svg viewBox='0 0 {WIDTH} {len(rows) * step + 6}'>{''.join(parts)}</svg>"


def _short(name: str, most: int = 84) -> str:
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 :]}"


def _e(text: str) -> str:
    return html.escape(text, quote=True)
