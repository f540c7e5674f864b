"""`everloop demo`: the whole loop on the bike-sharing data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from everloop.cli.output import Bar

__all__ = ["demo"]


def demo(
    data: Annotated[Path | None, typer.Option(help="hour.csv of UCI's bike-sharing data; else it is obtained.")] = None,
    out: Annotated[Path, typer.Option(help="Where the project, the report and the summary go.")] = Path("demo"),
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train on the first half, serve it, replay the second half as live traffic, and keep the model right."""
    from everloop.cli.output import Bar, show_json
    from everloop.replay.bike_sharing import default_cache, obtain
    from everloop.replay.demo import run_demo

    with Bar() as bar:
        bar.part("data")
        obtained = obtain(data, default_cache(), bar.progress)
        if obtained.origin == "simulated":
            bar.line("There is no network and no file was given: the data of this demo is simulated.")
        summary = run_demo(obtained, out, _listener(bar))
    if json:
        show_json(summary)
    else:
        _show(summary, out)


def _listener(bar: Bar) -> Any:
    from everloop.loop.story import Line
    from everloop.replay.demo import Listener
    from everloop.types import show_time

    class Shown(Listener):
        def stage(self, name: str) -> None:
            bar.part(name)

        def progress(self, done: int, total: int) -> None:
            bar.progress(done, total)

        def line(self, line: Line) -> None:
            bar.line(f"{show_time(line.time)[:16].replace('T', ' ')}  {line.kind:<9} {line.text}")

    return Shown()


def _show(summary: dict[str, Any], out: Path) -> None:
    from everloop.cli.output import show_replay

    show_replay(summary)
    metric, told = summary["metric"], summary["predictions"]
    values = summary[metric]
    print(
        f"{metric}: {values['loop']:.1f} with the loop ({len(summary['retrainings'])} retrainings), "
        f"{values['frozen']:.1f} with the first model left alone"
    )
    print(f"{told['sent']} predictions over HTTP, {told['failed']} failed, {told['repeated']} sent again")
    print(
        f"{summary['wall_seconds']:.0f} s, {summary['cpu_seconds']:.0f} CPU seconds and at most "
        f"{summary['peak_memory_mib']:.0f} MiB over all processes"
    )
    print(f"report: {out / 'report.html'}")
