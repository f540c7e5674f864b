"""`everloop drift`: what the monitor says, and the records behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["drift"]


def drift(
    signal: Annotated[str | None, typer.Argument(help="One signal: its id (s-12) or its name.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    records: Annotated[bool, typer.Option("--records", help="Print the predictions behind the signal.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a picture of what moved to this .png or .html.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Show when signals fired, and for how long.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the newest signals of the monitor, or one with its histograms and the predictions behind it."""
    from everloop.cli.output import show_json, show_record, show_table, write_out
    from everloop.errors import UsageError
    from everloop.loop.drift import as_read, behind, latest, one, row_of
    from everloop.loop.workspace import opened
    from everloop.types import dated

    if records and signal is None:
        raise UsageError("--records needs a signal: name one, such as data_drift:temp or s-12")
    if history and (records or plot is not None):
        raise UsageError("--history tells when signals fired: leave --records and --plot out, or --history")
    if history:
        _show_history(project, signal, json)
        return
    with opened(project) as workspace:
        found = [one(workspace, signal)] if signal else latest(workspace)
        if plot is not None:
            from everloop.tracking.drift_plots import plot as plot_of

            write_out(plot, plot_of(plot, found))
        told = behind(workspace, found[0]) if records else []
    if json:
        show_json({"signals": dated(found), **({"records": told} if records else {})})
    elif records:
        show_table(f"Predictions behind {found[0]['name']}", told)
    elif signal:
        print(f"signal {found[0]['id']}")
        show_record(as_read(found[0]))
    elif found:
        show_table("Signals", [row_of(signal) for signal in found])
    else:
        print("no window was judged yet: `everloop monitor` watches, and `everloop up` runs it")


def _show_history(project: Path, signal: str | None, json: bool) -> None:
    from everloop.cli.output import show_json, show_table
    from everloop.loop.drift import episodes
    from everloop.loop.workspace import opened
    from everloop.types import show_time

    with opened(project) as workspace:
        found = episodes(workspace, signal)
    rows = [one | {"from": show_time(one["from"]), "until": one["until"] and show_time(one["until"])} for one in found]
    if json:
        show_json(rows)
    elif rows:
        show_table("When signals fired", rows)
    else:
        print("no signal has fired so far")
