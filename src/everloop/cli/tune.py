"""`everloop tune`: the parameters that a project names, searched on rows that no gate judges on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["tune"]


def tune(
    trials: Annotated[int | None, typer.Option(help="Of the study in all. Default: \\[tuning] trials.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="None begins later. Default: \\[tuning] minutes.")] = None,
    write: Annotated[bool, typer.Option(help="Write the best into the project file, where it is better.")] = True,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search the parameters of the model; a study that was stopped goes on."""
    import msgspec

    from everloop.cli.output import Bar, show_json, show_table
    from everloop.loop.tracking import tracked
    from everloop.loop.tuning import tune as search
    from everloop.loop.workspace import opened

    with tracked(project, lambda text: print(f"note: {text}", file=sys.stderr)):
        with Bar() as bar, opened(project) as workspace:
            found = search(workspace, trials, minutes, write=write, tell=bar.part, report=bar.progress)
    if json:
        show_json(msgspec.to_builtins(found))
        return
    rows = [("as it was", found.before), ("best", found.best)]
    show_table(
        f"Study {found.study}: {found.complete} trials judged, {found.pruned} pruned, {found.failed} failed",
        [{"": name, "trial": one.number, "loss": one.loss, **one.parameters} for name, one in rows if one],
    )
    print(f"judged on the oldest {found.rows:,} rows of {found.data_version}, which no gate judges on")
    if found.written:
        print("written: [training] parameters; `everloop run` trains with them")
    elif write:
        print("nothing is better than the parameters as they stand: the project file is as it was")
