"""The demo: a project of its own, a real server and controller, and the second half of history as live traffic."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path
from typing import Any

from everloop.errors import UsageError
from everloop.loop.client import Client
from everloop.loop.projects import commit_all, copy_template
from everloop.loop.story import Line, Story
from everloop.loop.supervisor import Supervisor
from everloop.loop.up import children
from everloop.loop.workspace import Workspace, open_workspace
from everloop.replay.bike_sharing import BikeData
from everloop.replay.client import OverHttp
from everloop.replay.history import History, load_history
from everloop.replay.player import Played, play
from everloop.replay.report import Series, write
from everloop.replay.summary import compare, describe, signals
from everloop.replay.usage import Usage
from everloop.settings import load, seconds

__all__ = ["Listener", "run_demo"]

TEMPLATE, TITLE = "bike-sharing", "Everloop on bike sharing"
WHO = ("-c", "user.name=Everloop demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")


class Listener:
    """Is told how the demo goes on; a subclass shows what it likes."""

    def stage(self, name: str) -> None:
        """A part of the demo begins."""

    def progress(self, done: int, total: int) -> None:
        """So much of the present part is done."""

    def line(self, line: Line) -> None:
        """The loop did something."""

    def processes(self, supervisor: Supervisor) -> None:
        """Server and controller run."""


def run_demo(data: BikeData, out: Path, listener: Listener, rows: int | None = None) -> dict[str, Any]:
    """Return the summary of a demo on `data` (its first `rows` rows), which is left in `out` with its report."""
    with Usage() as usage:
        project = make_project(out)
        settings = load(project)
        history = load_history(project, settings, str(data.path.resolve()), rows)
        known = project / "data" / "known.csv"
        known.parent.mkdir(exist_ok=True)
        history.known.to_csv(known, index=False)
        workspace = open_workspace(project, settings)
        try:
            played, client = _play(workspace, history, out / "logs", listener)
            listener.stage("comparing")
            summary = _summary(workspace, history, played, client, data, usage, out, listener)
        finally:
            workspace.close()
    return summary


def make_project(out: Path) -> Path:
    """Write the template's project anew under `out`; a folder that another program made is left alone."""
    project, mark = out / "project", out / ".everloop-demo"
    if project.exists() and not mark.exists():
        raise UsageError(f"{project} was not made by a demo: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()
    shutil.rmtree(project, ignore_errors=True)
    shutil.rmtree(out / "logs", ignore_errors=True)
    copy_template(TEMPLATE, project)
    commit_all(project, "The bike-sharing project", *WHO)
    return project.resolve()


def _play(workspace: Workspace, history: History, logs: Path, listener: Listener) -> tuple[Played, OverHttp]:
    port = _free_port()
    story = Story(workspace.store)

    def on_day(day: int, days: int) -> None:
        listener.progress(day, days)
        for line in story.news():
            listener.line(line)

    with Supervisor(children(workspace.folder, port, "event", logs)) as supervisor:
        listener.processes(supervisor)
        url = f"http://127.0.0.1:{port}"
        with contextlib.closing(Client(url, workspace.name, check=supervisor.check)) as client:
            live = OverHttp(client, workspace.store, supervisor.check)
            listener.stage("training")
            live.advance(float(history.live_times[0]))
            listener.stage("replaying")
            return play(history, live, seconds(workspace.settings.replay.label_delay), on_day), live


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _summary(
    workspace: Workspace,
    history: History,
    played: Played,
    client: OverHttp,
    data: BikeData,
    usage: Usage,
    out: Path,
    listener: Listener,
) -> dict[str, Any]:
    compared = compare(workspace, history, played, listener.progress, calendars=("calendar",))
    summary: dict[str, Any] = {
        "data": {"rows": len(history.table), "sha256": data.sha256, "origin": data.origin},
        "predictions": {"sent": client.sent, "failed": client.failed, "repeated": client.repeated},
    }
    summary |= describe(workspace, history, played, compared)
    series = Series(history.live_times, compared.losses, played.versions, compared.metric)
    summary |= usage.figures()
    write(out, TITLE, summary, series, signals(workspace))
    return summary
