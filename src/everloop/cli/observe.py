"""`everloop observe`: files for Prometheus, Alertmanager and Grafana."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["observe"]

observe = typer.Typer(name="observe", help="Files for Prometheus, Alertmanager and Grafana.", no_args_is_help=True)


@observe.callback()
def group() -> None:
    """Files for Prometheus, Alertmanager and Grafana."""


@observe.command()
def init(
    out: Annotated[Path, typer.Option(help="The folder for the files.")] = Path("observability"),
    force: Annotated[bool, typer.Option("--force", help="Write over files that somebody changed.")] = False,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write scrape configuration, rules, alerts and dashboards; files that somebody changed are kept."""
    from everloop.cli.output import show_json
    from everloop.loop.observing import rendered, write_files
    from everloop.settings import load

    written = write_files(rendered(load(project)), project / out, force=force)
    if json:
        show_json({"folder": str(project / out), "files": written})
    else:
        for name in written:
            print(project / out / name)
