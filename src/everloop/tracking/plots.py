"""Pictures of a run: how it learned, what its window was chosen on, how it answers rows it was not trained on."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.tracking.record import Judged, RunRecord

__all__ = ["plots"]

INK, TRUTH, MODEL, QUIET = "#1c2430", "#c2410c", "#0f766e", "#94a3b8"
BINS, CLASSES, WORDS = 10, 30, 12


def plots(record: RunRecord) -> dict[str, bytes]:
    """Return PNG images by file name, of all that the run tells."""
    drawn: dict[str, Any] = {"training_curve": _training_curve(record), "window_choice": _window_choice(record)}
    judged = record.judged
    if judged is not None and len(judged.truth):
        drawn |= {name: draw(judged) for name, draw in _BY_TASK[judged.task].items()}
    return {f"{name}.png": _png(figure) for name, figure in drawn.items() if figure is not None}


def _training_curve(record: RunRecord) -> Any:
    found = {c.name: c for c in record.curves}
    told = (("training_loss", "training rows", QUIET), ("out_of_time_loss", "out-of-time rows", MODEL))
    known = [(found[name], label, colour) for name, label, colour in told if name in found]
    if not known:
        return None
    figure, axes = _figure("Training curve", "round", _loss(record))
    for curve, label, colour in known:
        axes.plot(curve.steps, curve.values, color=colour, lw=1.8, label=label)
    lowest = min(min(curve.values) for curve, _, _ in known)
    if lowest > 0 and max(max(curve.values) for curve, _, _ in known) > 20 * lowest:
        axes.set_yscale("log")
    axes.legend(frameon=False)
    return figure


def _window_choice(record: RunRecord) -> Any:
    if not record.scores:
        return None
    names = list(record.scores)
    values = [record.scores[name]["loss"] for name in names]
    errors = [1.96 * record.scores[name].get("standard_error", 0.0) for name in names]
    figure, axes = _figure("Window choice on out-of-time blocks", _loss(record), "", (9, 1.6 + 0.6 * len(names)))
    colours = [MODEL if name == record.chosen else QUIET for name in names]
    bars = axes.barh(
        names, values, xerr=[e or np.nan for e in errors], color=colours, ecolor=INK, capsize=4, height=0.5
    )
    for bar, value in zip(bars, values, strict=True):
        told = f" {value:,.0f}" if value >= 1000 else f" {value:.4g}"
        axes.text(0, bar.get_y() + bar.get_height() / 2, told, ha="left", va="center", color="white")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    if any(errors):
        axes.text(
            0.99, 1.01, "error bars: 95 % interval of the difference to the first",
            transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=INK,
        )  # fmt: skip
    return figure


def _loss(record: RunRecord) -> str:
    squared = record.judged is not None and record.loss == "mean squared error"
    return f"{record.loss} ({record.judged.target}²)" if squared and record.judged else record.loss


def _over_time(judged: Judged) -> Any:
    figure, axes = _figure("Out-of-time rows: truth and answers", "", judged.target)
    dates = _dates(judged.times)
    axes.plot(dates, judged.truth, color=TRUTH, lw=0.9, alpha=0.8, label="truth")
    axes.plot(dates, judged.answers, color=MODEL, lw=0.9, alpha=0.9, label="answer")
    axes.legend(frameon=False, ncols=2)
    return _dated(figure, axes)


def _residuals(judged: Judged) -> Any:
    figure, axes = _figure("Out-of-time residuals", "", f"truth - answer ({judged.target})")
    rest = judged.truth - judged.answers
    axes.axhline(0, color=INK, lw=0.8)
    axes.scatter(_dates(judged.times), rest, s=6, color=MODEL, alpha=0.5, linewidths=0)
    days, means = _daily(judged.times, rest)
    axes.plot(_dates(days), means, color=TRUTH, lw=1.5, label="mean of a day")
    axes.legend(frameon=False)
    return _dated(figure, axes)


def _agreement(judged: Judged) -> Any:
    figure, axes = _figure("Truth against answers", f"answer ({judged.target})", f"truth ({judged.target})", (6, 6))
    low, high = (
        float(min(judged.truth.min(), judged.answers.min())),
        float(max(judged.truth.max(), judged.answers.max())),
    )
    axes.plot([low, high], [low, high], color=INK, lw=0.8, ls="--", label="answer = truth")
    axes.scatter(judged.answers, judged.truth, s=7, color=MODEL, alpha=0.4, linewidths=0)
    axes.set_aspect("equal")
    axes.legend(frameon=False)
    return figure


def _reliability(judged: Judged) -> Any:
    """Two classes: the second one's probability. More: that of the class each row is said to have."""
    if len(judged.classes) == 2:
        said, hit, what = judged.answers[:, 1], judged.truth == 1, f"{judged.target} = {judged.classes[1]}"
    else:
        said, hit, what = judged.answers.max(1), judged.answers.argmax(1) == judged.truth, "the most likely class"
    figure, axes = _figure("Reliability on out-of-time rows", f"probability of {what}", "share that came true", (6, 6))
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    used = counts > 0
    means = np.bincount(place, said, BINS)[used] / counts[used]
    shares = np.bincount(place, hit, BINS)[used] / counts[used]
    errors = 1.96 * np.sqrt(shares * (1 - shares) / counts[used])
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls="--", label="calibrated")
    axes.errorbar(means, shares, yerr=errors, color=MODEL, marker="o", capsize=3, label="answers, 95 % interval")
    for x, y, count in zip(means, shares, counts[used], strict=True):
        axes.annotate(f"{count}", (x, y), xytext=(7, -11), textcoords="offset points", fontsize=8, color=INK)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(frameon=False, title="numbers: rows")
    return figure


def _confusion(judged: Judged) -> Any:
    k = len(judged.classes)
    if k > CLASSES:
        return None
    counts = np.bincount(judged.truth * k + judged.answers.argmax(1), minlength=k * k).reshape(k, k)
    size = max(4.5, 1.2 + 0.55 * k)
    figure, axes = _figure("Confusion matrix: out-of-time rows", f"answered {judged.target}", "truth", (size, size))
    axes.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="GnBu", vmin=0, vmax=1)
    axes.grid(visible=False)
    names = [name if len(name) <= WORDS else f"{name[: WORDS - 1]}…" for name in judged.classes]
    axes.set_xticks(range(k), names, rotation=0 if k < 6 else 90)
    axes.set_yticks(range(k), names)
    for (truth, said), count in np.ndenumerate(counts):
        dark = count > 0.6 * max(counts[truth].sum(), 1)
        axes.text(said, truth, f"{count}", ha="center", va="center", color="white" if dark else INK, fontsize=9)
    return figure


def _loss_over_time(judged: Judged) -> Any:
    figure, axes = _figure("Out-of-time loss by day", "", "log loss")
    chosen = judged.answers[np.arange(len(judged.truth)), judged.truth]
    days, means = _daily(judged.times, -np.log(np.clip(chosen, 1e-6, 1.0)))
    axes.plot(_dates(days), means, color=MODEL, lw=1.5, marker="o", ms=3)
    axes.set_ylim(bottom=0)
    return _dated(figure, axes)


_BY_TASK: dict[str, dict[str, Callable[[Judged], Any]]] = {
    "regression": {
        "answers_over_time": _over_time,
        "residuals_over_time": _residuals,
        "truth_against_answers": _agreement,
    },
    "classification": {"reliability": _reliability, "confusion_matrix": _confusion, "loss_over_time": _loss_over_time},
}


def _figure(title: str, x: str, y: str, size: tuple[float, float] = (9, 4)) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", color=INK)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _dated(figure: Any, axes: Any) -> Any:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("event time (UTC)")
    return figure


def _dates(times: NDArray[np.float64]) -> list[datetime]:
    return [datetime.fromtimestamp(time, UTC) for time in times.tolist()]


def _daily(times: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of each day that has rows, and the mean of its values."""
    days, place, counts = np.unique(times // 86400, return_inverse=True, return_counts=True)
    return days * 86400 + 43200, np.bincount(place, values) / counts


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()
