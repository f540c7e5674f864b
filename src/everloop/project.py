"""A project from Python: the verbs of the command line as methods, whose results show themselves in a notebook."""

from __future__ import annotations

import base64
import contextlib
import html
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pandas as pd

from everloop.data import by_row
from everloop.loop import data_versions
from everloop.loop.asking import ask
from everloop.loop.client import Client
from everloop.loop.commands import APPROVE, DEPLOY, PROMOTE, RETRAIN, ROLLBACK
from everloop.loop.dataset import add_data
from everloop.loop.model_tests import examine_model
from everloop.loop.projects import create_project
from everloop.loop.tables import label_rows, predict_rows
from everloop.loop.tracking import tracked
from everloop.loop.trail import listing, show, status
from everloop.loop.tuning import tune
from everloop.loop.workspace import Workspace, opened
from everloop.replay.backtest import run_backtest
from everloop.settings import Settings, load
from everloop.training import prepare

__all__ = ["Data", "Project", "Record", "Report", "Rows"]

REASON = "a person asked for it"


class Record(dict[str, Any]):
    """One thing by its fields; a notebook shows it as a table."""

    def _repr_html_(self) -> str:
        return _table(self)


class Rows(list[Record]):
    """Several things with the same fields; a notebook shows them as one table."""

    @property
    def frame(self) -> pd.DataFrame:
        """The same as a DataFrame, a row each."""
        return pd.DataFrame(list(self))

    def _repr_html_(self) -> str:
        if not self:
            return "<p>none yet</p>"
        head = "".join(f"<th style='text-align:left'>{_text(name)}</th>" for name in self[0])
        body = "".join(
            f"<tr>{''.join(f'<td style=text-align:left>{_cell(v)}</td>' for v in r.values())}</tr>" for r in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Report(Record):
    """What a replay came to, with the picture of its error; `page` is the whole report."""

    page: Path

    def _repr_html_(self) -> str:
        picture = base64.b64encode((self.page.parent / "error.png").read_bytes()).decode()
        rows = Rows(Record(row) for row in self["alternatives"])
        return f"<img src='data:image/png;base64,{picture}' style='max-width:100%'>{rows._repr_html_()}"


class Project:
    """One project: `Project.open(".").run()` trains, as `everloop run` does; nothing is kept open between two calls."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.data = folder, settings, Data(folder)

    @classmethod
    def open(cls, folder: str | Path = ".") -> Project:
        """Return the project in a folder; raises `SettingsError` where there is none."""
        return cls(Path(folder), load(Path(folder)))

    @classmethod
    def create(cls, folder: str | Path, template: str = "minimal") -> Project:
        """Write a new project from a template, and return it."""
        create_project(Path(folder), template)
        return cls.open(folder)

    def __repr__(self) -> str:
        return f"Project({self.settings.project.name!r} in {self.folder})"

    def run(self, reason: str = REASON, set: Mapping[str, Any] | None = None, version: str | None = None) -> Record:
        """Retrain once, and return what came of it: the version, its gate's verdict, its rollout.

        `set` changes settings for this run alone (`{"training.window": "90d"}`), `version` names a pipeline version.

        MLflow and TensorBoard hold the run when it returns; one that is down is told as a warning.
        """
        with tracked(self.folder, lambda text: warnings.warn(text, stacklevel=4)):
            return self._ask(RETRAIN, reason, set=dict(set or {}) or None, version=version)

    def test(self, version: str | None = None) -> Record:
        """Test what a model must show, a row a check: a version's, by default the newest; `failed` counts."""
        with self._opened() as workspace:
            found = examine_model(workspace, version)
        checks = Rows(Record(msgspec.to_builtins(check)) for check in found.checks)
        return Record({"version": found.version, "failed": found.failed, "checks": checks})

    def tune(self, trials: int | None = None, minutes: float | None = None, *, write: bool = True) -> Record:
        """Search what `[tuning]` names; the best parameters are written into the project file where they are better."""
        with tracked(self.folder, lambda text: warnings.warn(text, stacklevel=4)), self._opened() as workspace:
            found = tune(workspace, trials, minutes, write=write)
        self.settings = load(self.folder)
        return Record(msgspec.to_builtins(found))

    def deploy(self, version: str, strategy: str | None = None, reason: str = REASON) -> Record:
        """Begin the rollout of a version whose gate passed, by the project's strategy or another."""
        return self._ask(DEPLOY, reason, version=version, strategy=strategy)

    def approve(self, version: str, reason: str = REASON) -> Record:
        """Approve a version that waits for a person; its rollout begins."""
        return self._ask(APPROVE, reason, version=version)

    def promote(self, version: str, reason: str = REASON) -> Record:
        """Let a version answer all requests from now on."""
        return self._ask(PROMOTE, reason, version=version)

    def rollback(self, reason: str = REASON) -> Record:
        """End the rollout under way, or go back to the champion before."""
        return self._ask(ROLLBACK, reason)

    def status(self) -> Record:
        """Return what is served, judged and decided."""
        with self._opened() as workspace:
            return Record(status(workspace))

    def show(self, id: str) -> Record:
        """Return anything by its id: decision, rollout, version, run, data, event, signal, prediction; with links."""
        with self._opened() as workspace:
            found = show(workspace, id)
        return Record({"kind": found.kind, "id": found.id, "links": found.links, **found.record})

    def versions(self) -> Rows:
        """Return the versions of the model, newest first."""
        return self._listing("version")

    def runs(self) -> Rows:
        """Return the runs of the pipelines, newest first."""
        return self._listing("run")

    def decisions(self) -> Rows:
        """Return what was decided and why, newest first."""
        return self._listing("decision")

    def predict(self, rows: pd.DataFrame, url: str | None = None) -> pd.DataFrame:
        """Return rows with the running server's answers and `prediction_id`s beside them.

        Rows are processed as `[data.process]` says; those without the model's columns go through the project's features
        function then. Names of images and videos are those of files below the folder `data`.
        """
        with self._client(url) as client:
            rows = by_row(rows, self.settings.data.process, os.environ)
            return predict_rows(
                client,
                rows,
                lambda raw: prepare(self.settings.training.features, self.folder, raw),
                folder=self.folder / "data",
                online=self.settings.serving.features,
            )

    def feedback(self, rows: pd.DataFrame, value: str | None = None, url: str | None = None, token: str = "") -> int:
        """Send the true values (column `value`, by default the target) of predictions; returns how many were taken."""
        with self._client(url, token) as client:
            return label_rows(client, rows, value or self.settings.data.target)

    def backtest(self, out: str | Path | None = None) -> Report:
        """Replay the project's history through the loop's own decisions, beside the alternatives."""
        place = Path(out) if out else Path(tempfile.mkdtemp(prefix="everloop-backtest-"))
        report = Report(run_backtest(self.folder, None, place))
        report.page = place / "report.html"
        return report

    def _ask(self, type: str, reason: str, **data: Any) -> Record:
        return Record(ask(self.folder, type, {"reason": reason} | {k: v for k, v in data.items() if v is not None}))

    def _listing(self, kind: Literal["decision", "version", "run"]) -> Rows:
        with self._opened() as workspace:
            return Rows(Record(row) for row in listing(workspace, kind))

    @contextlib.contextmanager
    def _client(self, url: str | None, token: str = "") -> Iterator[Client]:
        serving = self.settings.serving
        with contextlib.closing(
            Client(url or f"http://{serving.host}:{serving.port}", self.settings.project.name, 5.0, token=token)
        ) as client:
            yield client

    def _opened(self) -> contextlib.AbstractContextManager[Workspace]:
        return opened(self.folder)


class Data:
    """The versions of a project's data: `project.data.add("rides.csv")`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, *sources: str | Path, accept_schema: bool = False, replace: bool = False) -> Record:
        """Check files (paths or URLs) against the frozen schema and make them a version; all of them, or none."""
        with opened(self._folder) as workspace:
            named = [str(source) for source in sources]
            return Record(msgspec.to_builtins(add_data(workspace, named, accept_schema=accept_schema, replace=replace)))

    def log(self) -> Rows:
        """Return the versions of data folder and training sets, newest first."""
        with opened(self._folder) as workspace:
            return Rows(Record(row) for row in data_versions.log(workspace))

    def diff(self, before: str | None = None, after: str | None = None) -> Record:
        """Return what changed between two commits of the data folder, or two training sets."""
        with opened(self._folder) as workspace:
            return Record(data_versions.diff(workspace, before, after))

    def checkout(self, id: str, out: str | Path | None = None, force: bool = False) -> str:
        """Bring a version back: the data folder at a commit, or a training set as a file."""
        with opened(self._folder) as workspace:
            return data_versions.checkout(workspace, id, Path(out) if out else None, force)

    def table(self, id: str) -> pd.DataFrame:
        """Return the table of a training set such as `data-3`."""
        with opened(self._folder) as workspace:
            return data_versions.table_of(workspace, id)

    def push(self) -> int:
        """Send all versions to the remote; returns how many files it lacked."""
        with opened(self._folder) as workspace:
            return data_versions.push(workspace)


def _table(fields: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th style='text-align:left;vertical-align:top'>{_text(name)}</th>"
        f"<td style='text-align:left'>{_cell(value)}</td></tr>"
        for name, value in fields.items()
    )
    return f"<table>{rows}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return _table(value) if value else ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "<br>".join(_cell(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else html.escape(str(value))


def _text(name: Any) -> str:
    return html.escape(str(name).replace("_", " "))
