"""`everloop backtest`: what the loop would have done on a project's history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["backtest"]


def backtest(
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    data: Annotated[str | None, typer.Option(help="Files of history. Default: \\[data] source.")] = None,
    out: Annotated[Path, typer.Option(help="Where the report and the summary go.")] = Path("backtest"),
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    schedules: Annotated[bool, typer.Option(help="Compare with retraining by the calendar.")] = True,
) -> None:
    """Replay history through the loop's own decisions, without HTTP and without waiting, beside the alternatives."""
    from everloop.cli.output import Bar, show_json, show_replay
    from everloop.replay.backtest import run_backtest

    with Bar() as bar:
        source = str(Path(data).absolute()) if data else None
        summary = run_backtest(project, source, out, schedules=schedules, on_stage=bar.part, on_progress=bar.progress)
    if json:
        show_json(summary)
        return
    show_replay(summary)
    print(f"{summary['cpu_seconds']:.0f} CPU seconds")
    print(f"report: {out / 'report.html'}")
