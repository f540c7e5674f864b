"""New labels: rows of a pool become a data version and an event, those of served rows go to the server."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import pandas as pd

from everloop import git
from everloop.data import label
from everloop.data.sources import files
from everloop.errors import DataError, UsageError
from everloop.loop.client import Client
from everloop.loop.commands import post
from everloop.loop.dataset import Added, add_data, data_folder
from everloop.loop.labels import files as label_files
from everloop.loop.schemas import frozen_schema
from everloop.loop.tables import label_rows
from everloop.loop.workspace import Workspace
from everloop.settings import Settings
from everloop.triggers import push_event

__all__ = ["Imported", "import_labels", "server_of"]


class Imported(msgspec.Struct, frozen=True):
    """How many labels were taken, how many rows still lack one, what was made of them, and how many were there before.

    `added` is the data version of rows of a pool, `event` what tells the loop of it; both are None for served rows, and
    where every label was there.
    """

    labels: int
    open: int
    added: Added | None = None
    event: str | None = None
    known: int = 0

    @property
    def told(self) -> str:
        """What was done, in a line."""
        left = f", {self.open:,} rows lack one" if self.open else ""
        known = f", {self.known:,} were there already" if self.known else ""
        if self.added:
            files_ = ", ".join(self.added.files)
            return f"{self.labels:,} labels in {files_}: version {self.added.commit[:10]}{known}{left}"
        if self.known:
            return f"no new label{known}{left}"
        return f"{self.labels:,} labels sent to the server{left}"


def server_of(settings: Settings, url: str | None = None, token: str = "") -> Callable[[], Client]:
    """Return what opens the way to the server that labels of served rows go to."""
    serving = settings.serving
    return lambda: Client(url or f"http://{serving.host}:{serving.port}", settings.project.name, 5.0, token=token)


def import_labels(
    workspace: Workspace,
    path: Path,
    *,
    now: float,
    client: Callable[[], Client],
    tell: Callable[[str], None] = lambda _part: None,
) -> Imported:
    """Take the rows of a file whose target is filled in; all of them, or none.

    Rows with a `prediction_id` were served: their labels go to the server, which the loop joins with its answers. The
    others are checked and added as `everloop data add` does, but for those that have that label in the project's files
    already, and the push of that commit is told to the loop. Raises `DataError` with what does not fit.
    """
    target = workspace.settings.data.target
    rows = label_files.as_written(path) if path.is_file() else label_files.read(path)
    with_label = label_files.filled(rows, target)
    labelled = rows[with_label]
    if not len(labelled):
        raise UsageError(f"{path.name}: no row has a value in column {target!r} yet: label some first")
    _check_labels(workspace, path, labelled, target)
    typed = label_files.read(path)[with_label.to_numpy()]
    left = int((~with_label).sum())
    if label_files.PREDICTION in rows.columns:
        tell("sending labels")
        with contextlib.closing(client()) as server:
            return Imported(label_rows(server, typed, target, source=path.name), left)
    new = _new(workspace, path, typed)
    known = len(labelled) - int(new.sum())
    if not new.any():
        return Imported(0, left, known=known)
    before = git.commit_of(workspace.folder, "HEAD") if git.has(workspace.folder, "HEAD") else ""
    tell("adding labels")
    with tempfile.TemporaryDirectory(prefix="everloop-labels-") as place:
        table = _in_form(workspace, labelled[new].drop(columns=list(label_files.NOTES), errors="ignore"), path)
        try:
            source = _named(workspace, table, Path(place))
        except DataError as error:
            raise DataError(f"{path.name}: {error}; nothing was taken", error.rows) from error
        added = add_data(workspace, [str(source)], now=now, beside=str(path.parent))
    event = _tell(workspace, before, added.commit, now)
    return Imported(int(new.sum()), left, added, event, known)


def _check_labels(workspace: Workspace, path: Path, rows: pd.DataFrame, target: str) -> None:
    """Raise `DataError` for a label that is none of the project's; before the first schema every label is news."""
    schema = frozen_schema(workspace)
    if schema is None:
        return
    given = rows[target] if schema.task == "classification" else pd.to_numeric(rows[target], errors="coerce")
    wrong = np.flatnonzero([label(value, schema) is None for value in given])
    if len(wrong):
        first, places = rows[target].iloc[wrong[0]], rows.index.to_numpy()[wrong]
        usual = f"one of {', '.join(map(str, schema.classes))}" if schema.classes else "a number"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        told = f"{first!r} in row {places[0] + 1}{more}: it must be {usual}; nothing was taken"
        raise DataError(f"{path.name}: column {target!r} holds {told}", places.tolist())


def _new(workspace: Workspace, path: Path, rows: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows are in no file of the project yet; raise `DataError` where one has two labels."""
    keys, there = label_files.labels_of(workspace, rows)
    held, labels = set(there), rows[workspace.settings.data.target].astype(object).map(label_files.plain)
    for place, key, given in zip(rows.index, keys, labels, strict=True):
        told, where = there.setdefault(key, (given, f"row {place + 1}"))
        if told != given:
            way = "correct one of them, or empty it"
            if key in held:
                way = "correct it in a copy of that for `everloop data add --replace`, or empty it here"
            raise DataError(
                f"{path.name}: row {place + 1} is {given!r}, and {told!r} in {where}: {way}; nothing was taken",
                [int(place)],
            )
    return ~keys.isin(list(held))


def _in_form(workspace: Workspace, rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return rows with the columns of the project's files, in their order; there may be no file yet."""
    try:
        first = files.matches(workspace.settings.data.source, workspace.folder)[0]
    except DataError:
        return rows
    columns = list(label_files.read(first).columns)
    if missing := [name for name in columns if name not in rows.columns]:
        raise DataError(
            f"{path.name}: column {missing[0]!r} is missing, which {first.name} has: add it, or leave it empty"
        )
    return rows[columns]


def _named(workspace: Workspace, rows: pd.DataFrame, place: Path) -> Path:
    """Write rows under a name that `[data] source` takes; the same rows have the same name."""
    source = workspace.settings.data.source
    pattern = PurePosixPath(source).name
    if data_folder(workspace.settings) is None or "*" not in pattern:
        raise UsageError(f"[data] source = {source!r} takes no further file: make it a pattern, such as 'data/*.csv'")
    digest = hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()[:10]
    path = place / pattern.replace("*", f"labels-{digest}", 1).replace("*", "").replace("?", "x")
    files.write(rows, path)
    return path


def _tell(workspace: Workspace, before: str, commit: str, now: float) -> str | None:
    """Store the push of the commit as a poll or a hook would; None where it is no commit of a branch, or no new one."""
    branch = git.branch(workspace.folder)
    if not branch or commit == before:
        return None
    event = push_event(
        branch=branch,
        commit=commit,
        before=before,
        time=now,
        source="labels",
        repository=str(workspace.folder),
        paths=git.changed(workspace.folder, before or None, commit),
    )
    post(workspace.store, event)
    return event.id
