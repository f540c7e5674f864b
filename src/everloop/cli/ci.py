"""`everloop ci`: a CI system's files for a project, and what their steps call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["ci"]

ci = typer.Typer(name="ci", help="Continuous integration, delivery and training.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--project", help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@ci.command()
def init(
    system: Annotated[Literal["github", "jenkins", "cloudbuild"], typer.Argument(help="The CI system.")],
    branch: Annotated[
        str | None, typer.Option(help="The branch that is delivered. Default: the one checked out, or main.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace files with other content.")] = False,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Write a system's files for this project: checks, delivery, training."""
    from everloop.cli.output import show_json
    from everloop.loop.ci_files import write_files

    written = write_files(project, system, branch, force=force)
    if json:
        show_json({"system": system, "files": written})
        return
    for name in written:
        print(name)
    print("the secrets and variables that they read by name: see docs/ci.md")


@ci.command()
def changes(
    commit: Annotated[str, typer.Argument(help="The commit that was pushed.")] = "HEAD",
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Tell what a push brings: code, data or nothing."""
    from everloop.cli.output import show_json
    from everloop.loop.pushes import kind_of_push
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        kind = kind_of_push(workspace, commit)
    if json:
        show_json({"commit": commit, "kind": kind})
    else:
        print(kind)


@ci.command()
def report(
    version: Annotated[str | None, typer.Option(help="Such as v3. Default: the newest.")] = None,
    out: Annotated[Path | None, typer.Option(help="A file. Default: the terminal.")] = None,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Write a version's metrics beside the champion's, the gate's verdict and its data as Markdown."""
    from everloop.cli.output import show_json, write_out
    from everloop.loop.version_report import render_report
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        text = render_report(workspace, version)
    if out is not None:
        write_out(out, text)
    if json:
        show_json({"report": text, "file": str(out) if out else None})
    elif out is None:
        print(text, end="")


@ci.command()
def comment(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `everloop ci report` wrote.")],
    repository: Annotated[str, typer.Option(help="OWNER/NAME.")],
    commit: Annotated[str, typer.Option(help="A commit that the pull request brought.")],
    token: Annotated[str, typer.Option(envvar="GITHUB_TOKEN", help="May write comments.", show_default=False)],
    api: Annotated[str, typer.Option(envvar="GITHUB_API_URL", help="GitHub's API.")] = "https://api.github.com",
    json: Json = False,
) -> None:
    """Post a report on the pull request of a commit, or renew the one that is there."""
    from everloop.cli.output import show_json
    from everloop.loop.pull_request import comment

    address = comment(file.read_text(encoding="utf-8", errors="replace"), repository, commit, token, api)
    if json:
        show_json({"comment": address})
    else:
        print(address or f"no pull request brought {commit}: nothing was posted")


@ci.command()
def smoke(
    url: Annotated[str, typer.Option(help="The server: http://HOST:PORT.")],
    version: Annotated[str | None, typer.Option(help="Who must answer. Default: whom the plan chooses.")] = None,
    patience: Annotated[float, typer.Option(help="Seconds until it must be ready.")] = 30.0,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Ask a server for a few predictions: it is ready, and answers as a model does."""
    from everloop.cli.output import show_json, show_record
    from everloop.loop.probes import smoke
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        told = smoke(workspace, url, version, patience)
    show_json(told) if json else show_record(told)


@ci.command()
def load(
    url: Annotated[str, typer.Option(help="A server that may be loaded, and journals what it is sent.")],
    seconds: Annotated[float, typer.Option(help="How long, at most 300.")] = 10.0,
    connections: Annotated[int, typer.Option(help="Callers at the same time, at most 64.")] = 4,
    requests: Annotated[int, typer.Option(help="How many at most.")] = 20_000,
    p99: Annotated[float, typer.Option(help="Milliseconds that 99 of 100 answers may take.")] = 250.0,
    project: Folder = Path("."),
    json: Json = False,
) -> None:
    """Load a server for a short while; exit 1 where requests fail or answers take too long."""
    from everloop.cli.output import show_json, show_record
    from everloop.loop.probes import load
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        told = load(workspace, url, seconds=seconds, connections=connections, most=requests, p99=p99 / 1000)
    show_json(told) if json else show_record(told)
