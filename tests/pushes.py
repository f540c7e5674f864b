"""A project under git whose branch has a remote, a place where objects come, and a controller in this process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from tests.projects import history, write_project

from everloop import store as tables
from everloop.loop.controller import Controller
from everloop.loop.sensors import Sensors
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace, open_workspace

DAY = 86_400.0
START = 1_710_000_000.0
TRIGGERS = """
[triggers]
concept_drift = false
code = { test = false }
repository_data = true
storage = { url = "inbox", poll = "1s", debounce = "5s", cooldown = "0s" }
schedule = { every = "7d" }
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def pushed_project(place: Path, triggers: str = TRIGGERS, days: int = 40) -> tuple[Path, Path]:
    """Return the project where the controller runs, and a clone in which somebody works; both know one bare remote."""
    project, author, remote = place / "project", place / "author", place / "remote.git"
    write_project(project, days=days, change=1000)
    file = project / "everloop.toml"
    text = file.read_text().replace('[triggers]\nconcept_drift = { cooldown = "6d", budget = 8 }\n', triggers)
    file.write_text(text.replace("[deployment]\n", '[deployment]\nstrategy = "replace"\n'))
    (project / ".gitignore").write_text("/.everloop/\n/inbox/\n__pycache__/\n")
    (project / "README.md").write_text("a toy\n")
    (project / "inbox").mkdir()
    git(place, "init", "-q", "--bare", str(remote))
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "start")
    git(project, "remote", "add", "origin", str(remote))
    git(project, "push", "-q", "-u", "origin", "main")
    git(place, "clone", "-q", str(remote), str(author))
    return project, author


def push(author: Path, *, commit: str = "a change", **files: str) -> str:
    """Write files (`a__b` is `a/b`, a last `_` is a dot), commit and push them; returns the commit."""
    for name, text in files.items():
        path = author / name.replace("__", "/")
        path = path.with_name(".".join(path.name.rsplit("_", 1)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(author, "add", ".")
    git(author, "commit", "-qm", commit)
    git(author, "push", "-q", "origin", "main")
    return git(author, "rev-parse", "HEAD")


def more_rows(start: int, days: int = 5) -> pd.DataFrame:
    """Return rows that follow day `start`."""
    return history(days=start + days, change=1000)[start * 12 :]


class Running:
    """A controller and its sensors, stepped by hand."""

    def __init__(self, project: Path, prepare: Callable[[Workspace], None] = lambda _: None) -> None:
        self.workspace: Workspace = open_workspace(project)
        prepare(self.workspace)
        self.controller: Controller = build_controller(self.workspace, training_time=lambda t: t, report=lambda _: None)
        self.sensors = Sensors(self.workspace)

    def step(self, now: float) -> None:
        """Look and act once, as the process does each second."""
        self.sensors.look(now)
        self.controller.step(now)

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """Return the rows of a table, in the order of their keys."""
        order = table.c.number if "number" in table.c else next(iter(table.primary_key.columns))
        return self.workspace.store.rows(sa.select(table).order_by(order))

    @property
    def last(self) -> dict[str, Any]:
        """The newest decision but for those that only ask a person."""
        return [row for row in self.rows(tables.decision) if row["response"] != "ask"][-1]

    def close(self) -> None:
        """Close what it opened."""
        self.controller.close()
        self.workspace.close()
