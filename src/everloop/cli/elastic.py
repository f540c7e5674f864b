"""`everloop elastic`: prepare an Elasticsearch or OpenSearch, and Kibana, for what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["elastic"]

elastic = typer.Typer(name="elastic", help="Predictions and decisions in Elasticsearch.", no_args_is_help=True)


@elastic.callback()
def _group() -> None:
    """Predictions and decisions in Elasticsearch."""


@elastic.command()
def init(
    out: Annotated[Path, typer.Option(help="The folder for the files.")] = Path("observability/elastic"),
    days: Annotated[int, typer.Option(help="How long an index is kept after it was made.", min=1)] = 400,
    force: Annotated[bool, typer.Option("--force", help="Write over files that somebody changed.")] = False,
    project: Annotated[Path, typer.Option("--project", help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write index template, policy, Kibana objects, and settings of Filebeat and Logstash."""
    from everloop.cli.output import show_json
    from everloop.loop.elastic import logs_folder
    from everloop.loop.observing import rendered_elastic, write_files
    from everloop.settings import load

    settings = load(project)
    written = write_files(rendered_elastic(settings, logs_folder(settings, project), days), project / out, force=force)
    if json:
        show_json({"folder": str(project / out), "files": written})
    else:
        for name in written:
            print(project / out / name)


@elastic.command()
def setup(
    days: Annotated[int, typer.Option(help="How long an index is kept after it was made.", min=1)] = 400,
    project: Annotated[Path, typer.Option("--project", help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put the index template and the lifecycle policy on the server; once more renews them."""
    from everloop.cli.output import show_json
    from everloop.loop.elastic import set_up
    from everloop.loop.workspace import opened

    with opened(project) as workspace:
        names = set_up(workspace, days)
    if json:
        show_json({"put": names})
    else:
        print("\n".join(names))
