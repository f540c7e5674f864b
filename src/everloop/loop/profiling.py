"""What rows look like: of files, a training set, the data folder; beside another version where one is named."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pandas as pd

from everloop.data import Schema, conform, infer, schema_file
from everloop.data.comparing import Shift, compare
from everloop.data.leakage import leaks
from everloop.data.media import columns_of
from everloop.data.profile import Profile, profile
from everloop.data.profile_page import render
from everloop.data.schema import ORDER
from everloop.data.sources import files
from everloop.errors import DataError, UsageError
from everloop.loop.parts import parts_of
from everloop.loop.training_sets import table_of
from everloop.loop.workspace import Workspace
from everloop.settings import seconds
from everloop.training import forget_modules

__all__ = ["Profiled", "profile_data"]

Progress = Callable[[int, int], None]
SAMPLE = 1_000_000
"""Rows that are shown at most of a table that is read in parts."""


class Profiled(msgspec.Struct, frozen=True):
    """A profile, what moved against another version, and what a person should look at."""

    profile: Profile
    against: str
    shifts: list[Shift]
    notes: list[str]

    def page(self) -> str:
        """Return all of it as one HTML page."""
        return render(self.profile, self.shifts, self.against, self.notes)


def profile_data(
    workspace: Workspace,
    what: Sequence[str] = (),
    against: str | None = None,
    tell: Callable[[str], None] = lambda _part: None,
    progress: Progress = lambda _done, _total: None,
) -> Profiled:
    """Return the profile of files, or of a training set such as `data-3`; by default of all of `[data] source`.

    Files need not fit any schema: it is looked at before. `against` is a training set too, or a file.
    """
    forget_modules(workspace.folder)
    tell("reading")
    table, name, time, left_out = _table(workspace, what)
    target = workspace.settings.data.target
    tell("profiling")
    media = [name for name in workspace.settings.data.columns if name in table.columns]
    shown = table.drop(columns=[ORDER, *media], errors="ignore")  # an order is no time, and hides double rows
    found = profile(shown, name, target, time, progress)
    shifts = list[Shift]()
    if against is not None:
        tell("comparing")
        other, _, _, _ = _table(workspace, [against])
        same = [str(c) for c in table.columns if c in other.columns and c != time and c not in media]
        shifts = compare(other, table, same)
    notes = [*left_out, *_notes(workspace, table, time)]
    return Profiled(found, Path(against).name if against else "", shifts, notes)


def _table(workspace: Workspace, what: Sequence[str]) -> tuple[pd.DataFrame, str, str, list[str]]:
    """Return rows, in the schema's types where they fit, what they are called, their time column, what was left out."""
    settings = workspace.settings
    schema = schema_file.read(workspace.folder)
    if len(what) == 1 and what[0].startswith("data-") and not Path(what[0]).exists():
        table = table_of(workspace, what[0])
        return table, f"{settings.project.name}: {what[0]}", schema.time if schema else settings.data.time or "", []
    paths = [Path(os.path.abspath(w)) for w in what] or files.matches(settings.data.source, workspace.folder)
    if missing := [path for path in paths if not path.is_file()]:
        raise UsageError(f"{missing[0].name} is neither a file nor a training set: `everloop data log` lists these")
    tables = [parts_of(settings, workspace.folder, path) for path in paths]
    sample = _Evenly(SAMPLE if settings.data.chunk_rows else 0)
    for part in itertools.chain.from_iterable(tables):
        sample.take(part)
    label = ", ".join(path.name for path in paths[:3]) + (" ..." if len(paths) > 3 else "")
    time = tables[0].time
    return _typed(sample.table, schema, time), f"{settings.project.name}: {label}", time, sample.told


class _Evenly:
    """Keeps every row of what comes in parts or, of more than `limit`, every second one, every fourth one ..."""

    def __init__(self, limit: int) -> None:
        self._limit, self._step, self._rows = limit, 1, 0
        self._parts = list[pd.DataFrame]()

    def take(self, part: pd.DataFrame) -> None:
        self._parts.append(part.iloc[-self._rows % self._step :: self._step])
        self._rows += len(part)
        while self._limit and sum(map(len, self._parts)) > self._limit:
            self._parts, self._step = [self.table.iloc[::2]], self._step * 2

    @property
    def table(self) -> pd.DataFrame:
        return pd.concat(self._parts, ignore_index=True)

    @property
    def told(self) -> list[str]:
        if self._step == 1:
            return []
        told = f"a sample is shown, one row in {self._step} of {self._rows:,}"
        return [f"{told}: counts, ends, gaps and double rows are its own"]


def _typed(table: pd.DataFrame, schema: Schema | None, time: str) -> pd.DataFrame:
    """Return the rows with the schema's types where they fit it; else with readable times at least."""
    if schema is not None:
        try:
            return conform(table, schema)
        except DataError:
            pass
    if time in table.columns and not pd.api.types.is_numeric_dtype(table[time]):
        return table.assign(**{time: pd.to_datetime(table[time], utc=True, errors="coerce", format="ISO8601")})
    if time in table.columns:
        return table.assign(**{time: pd.to_datetime(table[time], unit="s", utc=True, errors="coerce")})
    return table


def _notes(workspace: Workspace, table: pd.DataFrame, time: str) -> list[str]:
    """Return what may leak, where the rows fit a schema."""
    settings = workspace.settings
    try:
        schema = schema_file.read(workspace.folder) or infer(
            table,
            target=settings.data.target,
            time=time,
            task=settings.data.task,
            media=columns_of(settings.data.columns),
        )
        fitting = conform(table, schema)
    except DataError as error:
        return [str(error)]
    return [leak.told for leak in leaks(fitting, schema, seconds(settings.training.horizon))]
