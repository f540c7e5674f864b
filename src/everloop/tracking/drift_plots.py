"""Pictures of what moved: of each signal with a histogram, the reference's and the window's."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from everloop.errors import UsageError

__all__ = ["drift_png", "plot"]

INK, BEFORE, NOW = "#1c2430", "#94a3b8", "#0f766e"
MOST, WORDS = 24, 10


def plot(path: Path, signals: Sequence[Mapping[str, Any]]) -> bytes | str:
    """Return a picture of the signals' histograms as a .png holds it, or an .html page with what each says too."""
    if path.suffix not in (".png", ".html"):
        raise UsageError(f"--plot {path}: write a file that ends with .png or .html")
    image = drift_png(signals)
    if path.suffix == ".png":
        return image
    rows = "".join(
        f"<tr><td>{html.escape(s['name'])}</td><td>{'fires' if s['firing'] else ''}</td>"
        f"<td>{s['value']:.4g}</td><td>{s['threshold']:.4g}</td></tr>"
        for s in signals
    )
    head = "<tr><th>signal</th><th></th><th>evidence</th><th>threshold</th></tr>"
    picture = base64.b64encode(image).decode()
    return (
        '<!doctype html><meta charset="utf-8"><title>Drift</title>'
        "<style>body{font-family:sans-serif;color:#1c2430;margin:2em}img{max-width:100%}"
        "td,th{padding:2px 12px;text-align:left}</style>"
        f'<h1>Drift</h1><img alt="histograms" src="data:image/png;base64,{picture}"><table>{head}{rows}</table>'
    )


def drift_png(signals: Sequence[Mapping[str, Any]]) -> bytes:
    """Return one picture, a panel a histogram; raises `UsageError` where no signal has one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [s for s in signals if s["evidence"].get("histogram")][:MOST]
    if not shown:
        raise UsageError("no signal here has a histogram: name one of a column, such as data_drift:temp")
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(4.4 * columns, 2.9 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).reshape(-1)
    for place, signal in zip(axes, shown, strict=False):
        _draw(place, signal)
    for place in axes[len(shown) :]:
        place.set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()


def _draw(axes: Any, signal: Mapping[str, Any]) -> None:
    shown = signal["evidence"]["histogram"]
    names = _names(shown)
    at = np.arange(len(names))
    axes.bar(at - 0.2, shown["reference"], 0.4, color=BEFORE, label="reference")
    axes.bar(at + 0.2, shown["window"], 0.4, color=NOW, label="window")
    every = max(1, len(names) // 8)
    axes.set_xticks(at[::every], names[::every], rotation=60, fontsize=7)
    axes.set_title(f"{signal['name']}{' fires' if signal['firing'] else ''}", loc="left", color=INK, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", labelsize=7)


def _names(shown: Mapping[str, Any]) -> list[str]:
    """Return a name a bin: up to which number it reaches, or its category."""
    if shown["numeric"]:
        return [*(f"≤ {edge:.3g}" for edge in shown["bins"]), f"> {shown['bins'][-1]:.3g}"]
    return [name if len(name) <= WORDS else f"{name[: WORDS - 1]}…" for name in map(str, shown["bins"])]
