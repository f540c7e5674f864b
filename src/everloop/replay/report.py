"""The report of a replay: one self-contained page and a picture, made from the summary and the series."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

import matplotlib
import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.types import parse_time

__all__ = ["Series", "render", "write"]

Floats = NDArray[np.float64]
INK, FROZEN, LOOP, MARK, QUIET = "#1c2430", "#c2410c", "#0f766e", "#7c3aed", "#94a3b8"


class Series(msgspec.Struct, frozen=True):
    """One value a replayed row, in time order: losses by alternative (`frozen`, `loop`, ...), the answering version."""

    times: Floats
    losses: Mapping[str, Floats]
    versions: Sequence[str]
    metric: str
    """`rmse` takes the root of a window's mean loss, `log_loss` the mean itself."""


def write(
    out: Path, title: str, summary: Mapping[str, Any], series: Series, signals: Sequence[Mapping[str, Any]]
) -> None:
    """Write what `render` returns, and `summary.json`, into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for name, content in render(title, summary, series, signals).items():
        (out / name).write_bytes(content)
    (out / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")


def render(
    title: str, summary: Mapping[str, Any], series: Series, signals: Sequence[Mapping[str, Any]]
) -> dict[PurePath, bytes]:
    """Return `report.html` (no outside reference) and `error.png`."""
    matplotlib.use("Agg")
    marks = [(parse_time(r["time"]), r["verdict"]) for r in summary["retrainings"]]
    error = _error_plot(series, marks)
    plots = {
        "Rolling error: the frozen model against the loop": _svg(error),
        "Which version answered": _svg(_traffic_plot(series)),
        "Concept drift: evidence against the alarm's threshold": _svg(_signal_plot(signals, marks)),
    }
    return {
        PurePath("report.html"): _page(title, summary, plots).encode(),
        PurePath("error.png"): _png(error),
    }


def _figure(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.grid(axis="y", alpha=0.25)
    return figure, axes


def _error_plot(series: Series, marks: Sequence[tuple[float, str]], days: float = 7.0) -> Any:
    figure, axes = _figure(4.2)
    dates = _dates(series.times)
    for name, colour, told in (
        ("calendar", QUIET, "calendar, as often as the loop"),
        ("frozen", FROZEN, "frozen model"),
        ("loop", LOOP, "loop"),
    ):
        if name in series.losses:
            rolling = _rolling(series.times, series.losses[name], days * 86400, series.metric)
            axes.plot(dates, rolling, color=colour, label=told, lw=1.0 if colour == QUIET else 1.6)
    styles = {"promoted": (MARK, "-"), "rolled_back": (FROZEN, "--"), "rejected": (FROZEN, ":")}
    named: set[str] = set()
    for time, verdict in marks:
        colour, style = styles.get(verdict, (QUIET, "--"))
        label = f"retraining, {verdict.replace('_', ' ')}"
        axes.axvline(
            _dates([time])[0], color=colour, ls=style, lw=0.9, alpha=0.8, label=None if label in named else label
        )
        named.add(label)
    axes.set_ylabel(f"{series.metric.replace('_', ' ')} over the last {days:.0f} days")
    axes.set_ylim(bottom=0)
    figure.legend(frameon=False, ncols=3, loc="outside upper left")
    return figure


def _traffic_plot(series: Series) -> Any:
    figure, axes = _figure(3.0)
    days = np.floor((series.times - series.times[0]) / 86400).astype(int)
    names = sorted(set(series.versions), key=lambda v: int(re.sub(r"\D", "", v) or 0))
    shares = np.zeros((len(names), days.max() + 1))
    np.add.at(shares, ([names.index(v) for v in series.versions], days), 1)
    shares /= np.maximum(shares.sum(0), 1)
    colours = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.95, len(names)))
    starts = _dates(series.times[0] + 86400 * np.arange(days.max() + 1))
    axes.stackplot(starts, shares, colors=colours, labels=names, step="post")
    axes.set_ylabel("share of a day's predictions")
    axes.set_ylim(0, 1)
    figure.legend(frameon=False, ncols=min(len(names), 8), loc="outside lower center")
    return figure


def _signal_plot(signals: Sequence[Mapping[str, Any]], marks: Sequence[tuple[float, str]]) -> Any:
    figure, axes = _figure(3.0)
    for name, colour in (("realised_loss", FROZEN), ("challenger_gain", LOOP)):
        said = [s for s in signals if s["name"] == name]
        ratios = np.clip([s["value"] / s["threshold"] for s in said], 1e-4, 1e4)
        axes.semilogy(_dates([s["time"] for s in said]), ratios, color=colour, lw=1.2, label=name.replace("_", " "))
    axes.axhline(1.0, color=INK, ls="--", lw=1.0, label="threshold")
    axes.legend(frameon=False, ncols=3, loc="upper left")
    for time, _ in marks:
        axes.axvline(_dates([time])[0], color=MARK, lw=0.7, alpha=0.5)
    axes.set_ylabel("evidence over threshold")
    return figure


def _rolling(times: Floats, losses: Floats, span: float, metric: str) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(losses)])
    first = np.searchsorted(times, times - span, "right")
    mean = (total[1:] - total[first]) / (np.arange(1, len(times) + 1) - first)
    result: Floats = np.sqrt(mean) if metric == "rmse" else mean
    return result


def _dates(times: Any) -> list[datetime]:
    return [datetime.fromtimestamp(float(t), UTC) for t in times]


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return out.getvalue()


def _page(title: str, summary: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    figures = "".join(f"<h2>{html.escape(name)}</h2><figure>{svg}</figure>" for name, svg in plots.items())
    return _HTML.format(
        title=html.escape(title),
        facts=_facts(summary),
        alternatives=_table(_alternative_rows(summary), ""),
        figures=figures,
        retrainings=_table(_retraining_rows(summary), "no retraining was needed"),
        versions=_table(_version_rows(summary), "no version"),
    )


def _facts(summary: Mapping[str, Any]) -> str:
    rows = []
    for name, value in summary[summary["metric"]].items():
        if name in ("frozen", "loop", "calendar"):
            rows.append(
                f"<div><b>{value:.4g}</b><span>{summary['metric'].replace('_', ' ')}, {html.escape(name)}</span></div>"
            )
    rows.append(f"<div><b>{len(summary['retrainings'])}</b><span>retrainings</span></div>")
    sent, failed = summary["predictions"]["sent"], summary["predictions"]["failed"]
    rows.append(f"<div><b>{sent:,}</b><span>predictions, {failed} failed</span></div>")
    origin = summary["data"].get("origin", "")
    note = (
        "<p>The data is <b>simulated</b>: no file was given and none could be downloaded.</p>"
        if origin == "simulated"
        else ""
    )
    return f"<div class='facts'>{''.join(rows)}</div>{note}"


def _retraining_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "decided": r["time"][:16].replace("T", " "),
            "version": r.get("version") or "",
            "why": r["reason"],
            "rollout": r["verdict"].replace("_", " "),
            "because": r.get("because", ""),
        }
        for r in summary["retrainings"]
    ]


def _alternative_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "kept by": row["name"].replace("_", " "),
            summary["metric"].replace("_", " "): f"{row[summary['metric']]:.4g}",
            "retrainings": str(row["retrainings"]),
            "trained on": row["window"],
        }
        for row in summary["alternatives"]
    ]


def _version_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "version": v["id"],
            "data": v["data_version"],
            "trained on": str(v["window"].get("name", "")),
            "stage": v["stage"],
            "metrics": ", ".join(f"{k} {x:.4g}" for k, x in v["metrics"].items()),
            "gate": v["gates"]["reason"],
        }
        for v in summary["versions"]
    ]


def _table(rows: Sequence[Mapping[str, str]], empty: str) -> str:
    if not rows:
        return f"<p>{empty}</p>"
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row.values()) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 1080px; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.6rem }} h2 {{ font-size: 1.1rem; margin-top: 2.2rem }}
figure {{ margin: 0 }} svg {{ width: 100%; height: auto }}
.facts {{ display: flex; flex-wrap: wrap; gap: .8rem }}
.facts div {{ border: 1px solid #d8dee8; border-radius: 8px; padding: .6rem 1rem }}
.facts div {{ display: flex; flex-direction: column }}
.facts b {{ font-size: 1.5rem }} .facts span {{ color: #56627a; font-size: .85rem }}
table {{ border-collapse: collapse; width: 100%; font-size: .85rem }}
th, td {{ text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #e5e9f0; vertical-align: top }}
</style></head><body>
<h1>{title}</h1>
{facts}
{figures}
<h2>What else could have been done</h2>{alternatives}
<h2>Retrainings and why</h2>{retrainings}
<h2>Versions</h2>{versions}
</body></html>
"""
