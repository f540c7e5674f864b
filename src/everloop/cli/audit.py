"""`everloop audit`: the journal as evidence; what is in it, that it was not changed, and what must not stay in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["audit"]

audit = typer.Typer(
    name="audit", help="Verify, show, repeat, erase and export what was journalled.", no_args_is_help=True
)
Folder = Annotated[Path, typer.Option("--project", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@audit.command()
def verify(project: Folder = Path("."), json: Json = False) -> None:
    """Read the whole journal and say the first record that was changed, removed or moved; exit 1 if there is one."""
    import msgspec

    from everloop.cli.output import Bar, show_json
    from everloop.loop.audit import verify
    from everloop.loop.workspace import opened
    from everloop.types import dated, show_time

    with Bar() as bar, opened(project) as workspace:
        bar.part("verify")
        found = verify(workspace, bar.progress)
    if json:
        show_json(dated(msgspec.to_builtins(found)))
    elif found.wrong:
        print(f"wrong: {found.wrong}")
    else:
        sealed = f", sealed up to record {found.sealed} at {show_time(found.sealed_at)}" if found.sealed_at else ""
        print(f"{found.records:,} records are as they were written{sealed}")
    if not json:
        for count, what in (
            (found.unsealed, "are not sealed yet: `everloop audit seal`"),
            (found.erased, "were erased, as signed"),
            (found.dropped, "were dropped by retention, as signed"),
            (found.old, "were written before digests covered kind, id and time: those are covered by seals only"),
        ):
            if count:
                print(f"{count:,} {what}")
    if found.wrong:
        raise typer.Exit(1)


@audit.command()
def seal(project: Folder = Path("."), json: Json = False) -> None:
    """Verify what was journalled since the newest seal, and sign it with the project's key."""
    import time

    import msgspec

    from everloop.cli.output import show_json
    from everloop.loop.audit import seal
    from everloop.loop.workspace import opened
    from everloop.types import dated

    with opened(project) as workspace:
        made = seal(workspace, time.time())
    if json:
        show_json(dated(msgspec.to_builtins(made)))
    elif made:
        print(f"sealed up to record {made.tip.number}: {made.tip.chain}")
    else:
        print("nothing is new since the newest seal")


@audit.command()
def show(
    id: Annotated[str, typer.Argument(help="A prediction.")],
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Show a prediction with everything behind it: labels, explanation, version, run, data version, commit."""
    import msgspec

    from everloop.cli.output import show_json, show_record
    from everloop.loop.audit import audit
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        found = audit(workspace, id)
    if json:
        show_json(msgspec.to_builtins(found))
        return
    print(f"prediction {found.id}")
    show_record(
        {
            "sealed": found.sealed or "not yet",
            "links": {name: ", ".join(ids) for name, ids in found.links.items()},
            "records": found.records,
            "server": found.server,
        }
        | found.behind
    )


@audit.command()
def replay(
    id: Annotated[str, typer.Argument(help="A prediction.")],
    on: Annotated[str | None, typer.Option(help="Another version, such as v3.")] = None,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Answer a prediction's inputs again; exit 1 when it had to be equal bit for bit and is not."""
    import msgspec

    from everloop.cli.output import show_json
    from everloop.loop.repeating import repeat
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        found = repeat(workspace, id, on)
    if json:
        show_json(msgspec.to_builtins(found))
    else:
        apart = found.largest_difference
        differs = "differs in what is no number" if apart is None else f"differs by {apart:.3g} at most"
        print(f"{found.rows} rows by {found.on}: {'equal bit for bit' if found.equal else differs}")
        if found.because:
            print(f"equality is not promised: {'; '.join(found.because)}")
        elif not found.equal:
            print("equality was promised: same version, ONNX Runtime build, CPU features and batch shape")
    if not found.kept:
        raise typer.Exit(1)


@audit.command()
def erase(
    ids: Annotated[list[str] | None, typer.Argument(help="Predictions.")] = None,
    column: Annotated[str | None, typer.Option(help="Of an input, instead of ids.")] = None,
    value: Annotated[str | None, typer.Option(help="What the column holds.")] = None,
    reason: Annotated[str, typer.Option(help="Is signed and kept: name no person in it.")] = "",
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Erase predictions with their labels and explanations, here and in exported tables; the journal still verifies."""
    import time

    import msgspec

    from everloop.cli.output import show_json
    from everloop.loop.audit import erase
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        found = erase(workspace, ids or [], column, value, reason, time.time())
    if json:
        show_json(msgspec.to_builtins(found))
        return
    for id in found.ids:
        print(id)
    print(f"{found.records} records of {len(found.ids)} predictions erased, {found.exported} rows of exported tables")
    if found.training_sets:
        print(f"training sets made since may hold their rows: {', '.join(found.training_sets)}")


@audit.command()
def export(
    out: Annotated[Path, typer.Option(help="A folder for the tables.")],
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Write the journal as Parquet: predictions, feedback and explanations, for DuckDB, pandas and Spark."""
    import msgspec

    from everloop.cli.output import Bar, show_json
    from everloop.loop.export import export
    from everloop.loop.workspace import opened

    with Bar() as bar, opened(project) as workspace:
        bar.part("export")
        made = export(workspace, out, bar.progress)
    if json:
        show_json(msgspec.to_builtins(made))
        return
    told = ", ".join(f"{rows:,} {table}" for table, rows in made.rows.items())
    print(f"{told} in {made.folder}: {made.written} files written, {made.kept} kept")


@audit.command()
def retain(
    keep: Annotated[str, typer.Option(help="How long records are kept, such as 365d.")],
    out: Annotated[Path | None, typer.Option(help="Export everything to this folder before.")] = None,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Remove the journal's segments whose records are all older; what is left still verifies."""
    import time

    from everloop.cli.output import show_json
    from everloop.errors import UsageError
    from everloop.loop.audit import retain
    from everloop.loop.workspace import opened
    from everloop.settings import seconds

    try:
        kept = seconds(keep)
    except ValueError as error:
        raise UsageError(f"--keep: {error}") from None
    with opened(project) as workspace:
        found = retain(workspace, kept, time.time(), out)
    if json:
        show_json(found)
    else:
        print(f"{found['records']:,} records dropped, of those before {found['before']}")
