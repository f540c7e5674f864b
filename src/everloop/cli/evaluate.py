"""`everloop evaluate`: what a version is worth, where it fails, and against the champion."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everloop.cli.completion import versions

if TYPE_CHECKING:
    from everloop.loop.evaluating import Evaluated
    from everloop.loop.responsible_ai import Insights

__all__ = ["evaluate"]


def evaluate(
    version: Annotated[
        str | None, typer.Argument(help="Such as v3; by default the champion.", autocompletion=versions)
    ] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a page with plots to this file.")] = None,
    responsible_ai: Annotated[
        Path | None, typer.Option(help="Save insights of Microsoft's Responsible AI Toolbox into this folder instead.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show the toolbox's dashboard over that folder.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve, on 127.0.0.1; 0 takes a free one.")] = 8704,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate a version: metrics with intervals, slices where it fails, calibration, errors over time, its rival."""
    from everloop.cli.output import Bar, show_json, write_out
    from everloop.errors import UsageError
    from everloop.loop.evaluating import evaluate_version
    from everloop.loop.evaluation_page import page
    from everloop.loop.workspace import opened

    if responsible_ai is not None and out is None:
        _responsible_ai(version, project, responsible_ai, port if serve else None, json)
        return
    if responsible_ai is not None or serve:
        raise UsageError("--responsible-ai DIR saves insights in place of --out's page, and --serve shows them")
    with opened(project) as workspace, Bar() as bar:
        done = evaluate_version(workspace, version, bar.part)
    if out is not None:
        write_out(out, page(done))
    if json:
        show_json(done)
    else:
        _show(done)
        print(f"page: {out}" if out else "plots: `everloop evaluate --out FILE`")


def _show(done: Evaluated) -> None:
    from everloop.cli.output import show_table
    from everloop.loop.document import shown

    found = done.evaluation
    print(f"{done.model} {done.version}: {found.rows:,} rows that its answers had not seen, in {found.blocks:,} blocks")
    show_table(
        "Metrics", [{"metric": n, "value": f.value, "low": f.low, "high": f.high} for n, f in found.metrics.items()]
    )
    told = [
        {"slice": s.name, "rows": s.rows, "mean loss": shown(s.loss), "times all": shown(s.ratio)}
        for s in found.slices
        if s.worse
    ]
    show_table("Slices that fail more", told)
    print(f"calibration: the {found.calibration.of} is off by {shown(found.calibration.error)} on average")
    if against := found.paired:
        name = f"{against.name} {shown(against.metric)} against {shown(against.rival_metric)}"
        print(f"against {against.rival}: {name} on the same {against.rows:,} rows")


def _responsible_ai(version: str | None, project: Path, folder: Path, port: int | None, json: bool) -> None:
    """Save insights, and show them where a port is given; those that are saved already are only shown."""
    from everloop.cli.output import Bar
    from everloop.errors import UsageError
    from everloop.loop.responsible_ai import save_insights, saved_insights, serve_insights
    from everloop.loop.workspace import opened

    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(Bar())
        if port is not None and folder.is_dir() and any(folder.iterdir()):
            found = saved_insights(folder)
            if version not in (None, found.version):
                raise UsageError(f"{folder} holds insights of {found.version}, not of {version}: name another folder")
        else:
            with opened(project) as workspace:
                found = save_insights(workspace, version, folder, bar.part)

        def done(url: str | None = None) -> None:
            stack.close()  # the bar's work is over
            _show_insights(found, folder, url, json)

        if port is None:
            done()
        else:
            serve_insights(folder, port, done, bar.part)


def _show_insights(found: Insights, folder: Path, url: str | None, json: bool) -> None:
    import msgspec

    from everloop.cli.output import show_json

    if json:
        show_json({"folder": str(folder), "url": url} | msgspec.to_builtins(found))
    else:
        print(f"{found.model} {found.version}: {found.rows:,} of the {found.judged:,} rows that it was judged on")
        for name, rows in found.covered.items():
            print(f"  {name.replace('_', ' ')} of {rows:,} rows")
        for name, reason in found.left_out.items():
            print(f"  no {name}: {reason}")
        print("note: it was fitted again on these rows before it serves, so the errors shown are too small")
        print(f"insights: {folder}")
        print(f"dashboard at {url}, until Ctrl-C" if url else "dashboard: --serve with the same folder", flush=True)
