"""`everloop data`: files that fit the schema become versions; what there is, what changed, how to get it back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everloop.cli.quarantine import quarantine

if TYPE_CHECKING:
    from everloop.loop.pulling import Pulled

__all__ = ["data"]

data = typer.Typer(name="data", help="Check and version data.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--project", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
data.add_typer(quarantine)


@data.command()
def add(
    files: Annotated[list[str], typer.Argument(help="Paths or URLs (https://, s3://, gs://) of tables.")],
    accept_schema: Annotated[bool, typer.Option(help="Freeze the schema that all rows show now.")] = False,
    replace: Annotated[bool, typer.Option(help="Let a file take the place of one of the same name.")] = False,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Check files against the frozen schema and make them a version; all of them, or none."""
    import msgspec

    from everloop.cli.output import Bar, show_json
    from everloop.loop.dataset import add_data
    from everloop.loop.workspace import opened

    with Bar() as bar, opened(project) as workspace:
        added = add_data(workspace, files, accept_schema=accept_schema, replace=replace, tell=bar.part, now=time.time())
    if json:
        show_json(msgspec.to_builtins(added))
        return
    print(added.schema_diff, end="")
    for note in added.notes:
        print(f"note: {note}")
    print(f"{added.rows:,} rows in {', '.join(added.files)}: version {added.commit[:10]}{_sent(added.pushed)}")


@data.command()
def pull(
    source: Annotated[list[str] | None, typer.Option(help="One of \\[data.sources]. Default: all.")] = None,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Bring what is new in the sources here, as versions; what does not fit goes into the quarantine."""
    import msgspec

    from everloop.cli.output import Bar, show_json
    from everloop.errors import EverloopError, UsageError
    from everloop.loop.pulling import pull as pull_one
    from everloop.loop.workspace import opened

    found: list[Pulled] = []
    failed: dict[str, EverloopError] = {}
    with Bar() as bar, opened(project) as workspace:
        names = source or list(workspace.settings.data.sources)
        if not names:
            raise UsageError("there is nothing to pull from: name a place in everloop.toml, as [data.sources.NAME]")
        for name in names:
            try:
                found.append(pull_one(workspace, name, time.time(), bar.part))
            except EverloopError as error:
                failed[name] = error
    if json:
        rows = [msgspec.to_builtins(one) for one in found]
        show_json([*rows, *({"source": name, "error": str(error)} for name, error in failed.items())])
    for one in () if json else found:
        _show_pulled(one)
    for told in failed.values():
        typer.echo(f"error: {told}", err=True)
    if failed or any(one.refused for one in found):
        raise typer.Exit(max((told.exit_code for told in failed.values()), default=1))


@data.command()
def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Default: those of \\[data] source.")] = None,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Check files against the frozen schema and version nothing; a sentence a file that does not fit."""
    from everloop.cli.output import show_json
    from everloop.loop.dataset import check_data
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        rows, problems, notes = check_data(workspace, files or (), time.time())
    if json:
        show_json({"rows": rows, "problems": problems, "notes": notes})
    else:
        for line in (*(f"note: {note}" for note in notes), *(f"problem: {problem}" for problem in problems)):
            print(line)
        told = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}, " if problems else ""
        print(f"{told}{rows:,} rows fit")
    if problems:
        raise typer.Exit(1)


@data.command()
def profile(
    what: Annotated[
        list[str] | None, typer.Argument(help="Files, or a training set. Default: \\[data] source.")
    ] = None,
    against: Annotated[str | None, typer.Option(help="A training set such as data-1, or a file.")] = None,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("profile.html"),
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Write a page that shows what rows look like: columns, the target by each of them, time, doubles, drift."""
    import msgspec

    from everloop.cli.output import Bar, show_json, write_out
    from everloop.loop.profiling import profile_data
    from everloop.loop.workspace import opened

    with Bar() as bar, opened(project) as workspace:
        found = profile_data(workspace, what or (), against, bar.part, bar.progress)
    if json:
        show_json(msgspec.to_builtins(found))
        return
    write_out(out, found.page())
    for note in found.notes:
        print(f"note: {note}")
    print(f"{found.profile.rows:,} rows, {len(found.profile.columns)} columns: {out}")


@data.command()
def log(project: Folder = Path("."), json: Json = False) -> None:
    """List the versions of the data folder and the training sets made from them, newest first."""
    from everloop.cli.output import show_json, show_table
    from everloop.loop.data_versions import log
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        rows = log(workspace)
    if json:
        show_json(rows)
    elif rows:
        show_table("Data versions", rows)
    else:
        print("none yet: `everloop data add FILE`")


@data.command()
def diff(
    before: Annotated[str | None, typer.Argument(help="A commit, or data-3. Default: the newest commit.")] = None,
    after: Annotated[str | None, typer.Argument(help="Default: the folder now, or the newest training set.")] = None,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Show what changed between two commits of the data folder, or between two training sets."""
    from everloop.cli.output import show_json, show_record, show_table
    from everloop.loop.data_versions import diff
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        told = diff(workspace, before, after)
    if json:
        show_json(told)
        return
    columns = told.pop("columns", [])
    show_record({name: ", ".join(v) if isinstance(v, list) else v for name, v in told.items()})
    show_table("Columns", columns)


@data.command()
def checkout(
    version: Annotated[str, typer.Argument(help="A commit of the data folder, or a training set such as data-3.")],
    out: Annotated[Path | None, typer.Option(help="Where a training set goes: .parquet or .csv.")] = None,
    force: Annotated[bool, typer.Option(help="Also where files that no version holds are lost.")] = False,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Bring a version back: the data folder as at a commit, or a training set as a file."""
    from everloop.cli.output import show_json
    from everloop.loop.data_versions import checkout
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        place = checkout(workspace, version, out, force)
    if json:
        show_json({"version": version, "place": place})
    else:
        print(f"{place} is version {version}")


@data.command()
def push(project: Folder = Path("."), json: Json = False) -> None:
    """Send all versions, training sets too, to the remote."""
    from everloop.cli.output import show_json
    from everloop.loop.data_versions import push
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        sent = push(workspace)
    if json:
        show_json({"files": sent})
    else:
        print(f"{sent} files sent" if sent else "the remote has everything")


@data.command()
def remote(
    url: Annotated[str, typer.Argument(help="A folder, gs://BUCKET/PLACE or s3://BUCKET/PLACE.")],
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Name the place that all versions are sent to from now on."""
    from everloop.cli.output import show_json
    from everloop.loop.data_versions import set_remote
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        set_remote(workspace, url)
    if json:
        show_json({"remote": url})
    else:
        print(f"versions go to {url}: `everloop data push` sends those that are there")


def _show_pulled(one: Pulled) -> None:
    """Print what a pull brought."""
    print(one.schema_diff, end="")
    for note in one.notes:
        print(f"note: {note}")
    more = "; there is more: pull again" if one.more else ""
    if one.refused:
        print(f"{one.source}: {one.rows:,} rows refused: {one.refused}{more}")
    elif one.rows:
        print(f"{one.source}: {one.rows:,} rows in {one.file}: version {one.commit[:10]}{more}")
    else:
        print(f"{one.source}: nothing new")


def _sent(pushed: bool) -> str:
    return ", sent to the remote" if pushed else ""
