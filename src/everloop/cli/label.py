"""`everloop label`: which rows a person should label next, and what becomes of the labels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["label"]

label = typer.Typer(name="label", help="Choose rows to label, and take their labels.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--project", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str | None, typer.Option(help="The server of served rows. Default: \\[serving] host and port.")]
studio = typer.Typer(name="studio", help="Rows to Label Studio, and their labels back.", no_args_is_help=True)
label.add_typer(studio)
Studio = Annotated[str, typer.Option("--url", help="Label Studio, such as http://127.0.0.1:8080.")]
Title = Annotated[str | None, typer.Option(help="The project there. Default: this project's name.")]
Key = Annotated[str, typer.Option(envvar="LABEL_STUDIO_API_KEY", help="The token of an account there.", hidden=True)]
Token = Annotated[Path | None, typer.Option(help="Holds the token that the server's labels need.")]


@label.command("next")
def next_(
    pool: Annotated[Path | None, typer.Argument(help="Rows without labels. Default: those that were served.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many rows.")] = 20,
    strategy: Annotated[
        str, typer.Option(help="auto, uncertainty, committee, diversity, mixed or random; of served rows watched.")
    ] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="A .csv, .tsv or .jsonl. Default: to-label, beside the pool.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is left to chance.")] = 0,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Write the rows whose labels teach most, with the reasons; a person fills in the target."""
    from everloop.cli.output import Bar, show_json
    from everloop.errors import UsageError
    from everloop.loop.labels.files import KINDS, REASON, write
    from everloop.loop.labels.proposing import propose
    from everloop.loop.labels.served import propose_served
    from everloop.loop.workspace import opened

    suffix = pool.suffix if pool and pool.suffix.lower() in KINDS else ".csv"
    target = out or (pool.parent if pool else Path()) / f"to-label{suffix}"
    if target.exists():
        raise UsageError(f"{target} is there already: import its labels and remove it, or name another file with --out")
    with Bar() as bar, opened(project) as workspace:
        bar.part("choosing")
        if pool is not None:
            found = propose(workspace, pool, count, strategy, seed)
        else:
            found = propose_served(workspace, count, strategy, seed)
        write(found.rows, target)
    told = {
        "rows": len(found.rows),
        "candidates": found.candidates,
        "open": found.open,
        "strategy": found.strategy,
        "file": str(target),
    }
    if json:
        show_json(told | {"reasons": found.rows[REASON].tolist()})
    else:
        sample = f", a sample of {found.open:,}" if found.open > found.candidates else ""
        print(f"{len(found.rows)} of {found.candidates:,} rows{sample}, chosen by {found.strategy}: {target}")


@label.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Rows whose target is filled in; those without are left.")],
    url: Url = None,
    token_file: Token = None,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Make the labels of a file a data version and an event; those of served rows go to the server."""
    import msgspec

    from everloop.cli.output import Bar, show_json
    from everloop.loop.labels.importing import import_labels, server_of
    from everloop.loop.workspace import opened
    from everloop.serving.app import read_token

    token = read_token(token_file) if token_file else ""
    with Bar() as bar, opened(project) as workspace:
        client = server_of(workspace.settings, url, token)
        done = import_labels(workspace, file, now=time.time(), client=client, tell=bar.part)
    if json:
        show_json(msgspec.to_builtins(done))
        return
    if done.added:
        print(done.added.schema_diff, end="")
        for note in done.added.notes:
            print(f"note: {note}")
    print(done.told)


@label.command()
def serve(
    file: Annotated[Path, typer.Argument(help="Rows that `everloop label next` wrote.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 8095,
    url: Url = None,
    token_file: Token = None,
    project: Folder = Path("."),
) -> None:
    """Show a page on this machine on which a person labels the rows of a file, until Ctrl-C or SIGTERM."""
    from everloop.loop.labels.importing import server_of
    from everloop.loop.labels.server import serve_labels
    from everloop.loop.workspace import opened
    from everloop.serving.app import read_token

    token = read_token(token_file) if token_file else ""
    with opened(project) as workspace:
        serve_labels(workspace, file, port, server_of(workspace.settings, url, token))


@studio.command()
def push(
    file: Annotated[Path, typer.Argument(help="Rows that `everloop label next` wrote.")],
    url: Studio,
    title: Title = None,
    key: Key = "",
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Make tasks of the rows without a label, with what the model suggests; LABEL_STUDIO_API_KEY holds the token."""
    import msgspec

    from everloop.cli.output import show_json
    from everloop.loop.labels.studio import push
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        done = push(workspace, file, url, title or workspace.name, key)
    if json:
        show_json(msgspec.to_builtins(done))
    else:
        known = f", {done.known} were there already" if done.known else ""
        print(f"{done.tasks} tasks{known}: {done.url}")


@studio.command()
def pull(
    file: Annotated[Path, typer.Argument(help="The file that was pushed; labels are written into it.")],
    url: Studio,
    title: Title = None,
    key: Key = "",
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Write the labels that a project of Label Studio has by now into the file; `everloop label import` takes them."""
    import msgspec

    from everloop.cli.output import show_json
    from everloop.loop.labels.studio import pull
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        done = pull(workspace, file, url, title or workspace.name, key)
    if json:
        show_json(msgspec.to_builtins(done))
    else:
        strange = f", {done.strange} are none of this project's and were left" if done.strange else ""
        print(f"{done.labels} labels in {file}{strange}")
