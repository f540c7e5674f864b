"""A lineage as a picture: a column for each step away from the root."""

from __future__ import annotations

import io
from typing import Any

from everloop.loop.lineage import Lineage

__all__ = ["picture"]

COLOURS = {
    "artifact": "#e2e8f0", "step": "#ccfbf1", "prediction": "#fed7aa", "version": "#fde68a", "data version": "#ddd6fe",
}  # fmt: skip
INK, LINE = "#1c2430", "#94a3b8"


def picture(found: Lineage, format: str) -> bytes:
    """Return the picture as `png`, `svg` or `pdf`."""
    from matplotlib.figure import Figure

    columns = _columns(found)
    tallest = max(len(column) for column in columns)
    figure = Figure(figsize=(3.2 * len(columns), 1.0 + 0.75 * tallest), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    places: dict[str, tuple[float, float]] = {}
    for depth, column in enumerate(columns):
        across = float(-depth if found.direction == "up" else depth)
        for place, id in enumerate(column):
            places[id] = (across, tallest / (len(column) + 1) * (len(column) - place))
    for edge in found.edges:
        _arrow(axes, places[edge.source], places[edge.target])
    for id, (x, y) in places.items():
        node = found.nodes[id]
        box = {"boxstyle": "round,pad=0.4", "facecolor": COLOURS[node.kind], "edgecolor": LINE}
        axes.text(x, y, _wrapped(node.label), ha="center", va="center", fontsize=8, color=INK, bbox=box)
    low, high = sorted((0, -(len(columns) - 1) if found.direction == "up" else len(columns) - 1))
    axes.set(xlim=(low - 0.5, high + 0.5), ylim=(0, tallest + 0.6))
    out = io.BytesIO()
    figure.savefig(out, format=format, dpi=130)
    return out.getvalue()


def _columns(found: Lineage) -> list[list[str]]:
    """Return the nodes by their longest distance from the root, so that every arrow points the same way."""
    distance, waiting = {found.root: 0}, [found.root]
    while waiting:
        id = waiting.pop(0)
        for other, _ in found.next_of(id):
            if distance.get(other, -1) < distance[id] + 1 <= len(found.nodes):
                distance[other] = distance[id] + 1
                waiting.append(other)
    columns: list[list[str]] = [[] for _ in range(max(distance.values()) + 1)]
    for id, column in distance.items():
        columns[column].append(id)
    return columns


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": LINE, "shrinkA": 38, "shrinkB": 42}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def _wrapped(label: str) -> str:
    return label.replace(" (run ", "\n(run ").replace(", ", "\n")
