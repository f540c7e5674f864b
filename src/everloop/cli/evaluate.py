"""`everloop evaluate`: what a version is worth, where it fails, and against the champion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everloop.cli.completion import versions

if TYPE_CHECKING:
    from everloop.loop.evaluating import Evaluated

__all__ = ["evaluate"]


def evaluate(
    version: Annotated[
        str | None, typer.Argument(help="Such as v3; by default the champion.", autocompletion=versions)
    ] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a page with plots to this file.")] = None,
    attacks: Annotated[bool, typer.Option("--attacks", help="Attack the model too: how little flips it.")] = False,
    counterfactuals: Annotated[
        bool, typer.Option("--counterfactuals", help="Tell too what would make the worst answers right.")
    ] = False,
    responsible_ai: Annotated[
        Path | None, typer.Option(help="Save insights of Microsoft's Responsible AI Toolbox into this folder instead.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show the toolbox's dashboard over that folder.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve, on 127.0.0.1; 0 takes a free one.")] = 8704,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate a version: metrics with intervals, slices where it fails, calibration, errors over time, its rival."""
    from everloop.cli.insights import insights
    from everloop.cli.output import Bar, show_json, write_out
    from everloop.errors import UsageError
    from everloop.loop.evaluating import evaluate_version
    from everloop.loop.evaluation_page import page
    from everloop.loop.what_if import check_askable, with_attacks, with_counterfactuals
    from everloop.loop.workspace import opened

    if responsible_ai is not None and not (out or attacks or counterfactuals):
        insights(version, project, responsible_ai, port if serve else None, json)
        return
    if responsible_ai is not None or serve:
        raise UsageError(
            "--responsible-ai DIR saves insights in place of all else that is evaluated, and --serve shows them"
        )
    with opened(project) as workspace, Bar() as bar:
        if attacks or counterfactuals:
            check_askable(workspace, version, attacks=attacks, counterfactuals=counterfactuals)
        done = evaluate_version(workspace, version, bar.part)
        if attacks:
            bar.part("attacking")
            done = with_attacks(workspace, done, bar.progress)
        if counterfactuals:
            bar.part("asking")
            done = with_counterfactuals(workspace, done)
    if out is not None:
        write_out(out, page(done))
    if json:
        show_json(done.as_told())
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
    _show_asked(done)


def _show_asked(done: Evaluated) -> None:
    """Show what was found on demand."""
    from everloop.cli.output import show_table
    from everloop.loop.evaluation_page import attacks_told, otherwise_told, ways_of

    if told := done.evaluation.attacks:
        print(f"attacks: {attacks_told(told)}")
        show_table("Columns that had to move", [{"column": c.column, "share": c.share.value} for c in told.columns])
    for one in done.evaluation.counterfactuals or ():
        print(otherwise_told(one))
        show_table("", ways_of(one))
