"""A project's files as its trainings prepare them: as one table, or in parts where they are larger than memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pandas as pd

from everloop.data import Schema, infer, process, timed
from everloop.data.findings import Findings
from everloop.data.media import columns_of, with_files
from everloop.data.process import singles
from everloop.data.schema import ORDER
from everloop.data.sources import files
from everloop.data.validation import Validation
from everloop.data.witnesses import Witnesses
from everloop.errors import DataError
from everloop.settings import Media, Process, Settings
from everloop.training import prepare
from everloop.types import Task

__all__ = ["Newest", "Parts", "Reading", "Shown", "look_through", "parts_of", "reading_of"]


class Reading(msgspec.Struct, frozen=True):
    """How a project's files become rows: the settings and the function that have a say."""

    features: str | None
    code: str
    """The folder of the features function."""
    target: str
    time: str | None
    task: Task | None
    process: Process = Process()
    columns: dict[str, Media] = {}
    """Which columns hold images and videos."""
    chunk_rows: int = 0
    """How many rows are in memory at a time; 0 is all of them."""


def reading_of(settings: Settings, code: Path) -> Reading:
    """Return how a project reads its files; its functions lie in `code`."""
    data = settings.data
    return Reading(
        settings.training.features,
        str(code),
        data.target,
        data.time,
        data.task,
        data.process,
        data.columns,
        data.chunk_rows,
    )


class Parts:
    """The rows of a source as a training prepares them, with the numbers of the file as index.

    It may be gone through again: a table that is read whole is kept, one in parts is read anew. Images and videos lie
    in `base`. Raises `DataError` for what cannot be read, and for files that this machine cannot hold.
    """

    def __init__(self, source: str, folder: Path, reading: Reading, base: Path | None) -> None:
        self._source, self._folder, self._reading, self._base = source, folder, reading, base
        self._whole: pd.DataFrame | None = None
        self.time = reading.time or ORDER

    def __iter__(self) -> Iterator[pd.DataFrame]:
        told = self._reading
        if not told.chunk_rows:
            yield self.whole()
            return
        single = singles(self._raw(), told.process, told.time)
        rows = 0
        for raw in self._raw():
            found = process(raw, told.process, told.time, os.environ, single)
            if len(found) and len(prepared := self._prepared(found, rows)):
                rows += len(prepared)
                yield prepared

    def whole(self) -> pd.DataFrame:
        """Return all rows as one table."""
        if self._whole is None:
            if self._reading.chunk_rows:
                return pd.concat(list(self))
            _refuse_too_large(self._source, self._folder)
            raw = files.read(self._source, self._folder)
            self._whole = self._prepared(process(raw, self._reading.process, self._reading.time, os.environ), 0)
        return self._whole

    def _raw(self) -> Iterator[pd.DataFrame]:
        return files.parts(self._source, self._folder, self._reading.chunk_rows)

    def _prepared(self, found: pd.DataFrame, before: int) -> pd.DataFrame:
        plain = prepare(self._reading.features, Path(self._reading.code), found)
        return timed(with_files(plain, self._reading.columns, self._base), self._reading.time, before)[0]


def parts_of(settings: Settings, folder: Path, path: Path, base: Path | None = None) -> Parts:
    """Return one file's rows; the images and videos that it names lie in `base`, by default beside it."""
    return Parts(str(path.absolute()), path.parent, reading_of(settings, folder), base or path.parent)


class Shown:
    """What tables show of their schema together: all of their rows, or of tables in parts those that witness it."""

    def __init__(self, reading: Reading) -> None:
        self._reading, self._media = reading, columns_of(reading.columns)
        self._time, self._frames = reading.time or ORDER, list[pd.DataFrame]()
        self._witnesses = Witnesses(reading.target, self._time, self._media) if reading.chunk_rows else None

    def take(self, table: Parts) -> None:
        """Look at one more table."""
        if self._witnesses is None:
            self._frames.append(table.whole())
        else:
            for frame in table:
                self._witnesses.take(frame)

    @property
    def rows(self) -> pd.DataFrame:
        """Rows that show what all of them do."""
        if self._witnesses is not None:
            return self._witnesses.table
        return pd.concat(self._frames, ignore_index=True) if len(self._frames) > 1 else self._frames[0]

    @property
    def count(self) -> int:
        """How many rows the tables have."""
        return self._witnesses.rows if self._witnesses is not None else sum(map(len, self._frames))

    def schema(self) -> Schema:
        """Return the schema; raises `DataError` naming what cannot be used."""
        told = self._reading
        return infer(self.rows, target=told.target, time=self._time, task=told.task, media=self._media, rows=self.count)


class Newest:
    """Keeps the newest `limit` rows (0: all) of what comes in parts, in the order of time; never twice that many."""

    def __init__(self, time: str, limit: int) -> None:
        self._time, self._limit = time, limit
        self._parts, self._held = list[pd.DataFrame](), 0
        self.rows = 0
        """How many there were."""

    def take(self, table: pd.DataFrame) -> None:
        """Look at rows as a schema has them."""
        self._parts.append(table)
        self._held += len(table)
        self.rows += len(table)
        if self._limit and self._held > 2 * self._limit:
            self._parts = [self.table]
            self._held = len(self._parts[0])

    @property
    def table(self) -> pd.DataFrame:
        """The newest rows, of equal times the later ones."""
        rows = pd.concat(self._parts) if len(self._parts) != 1 else self._parts[0]
        if not rows[self._time].is_monotonic_increasing:
            rows = rows.sort_values(self._time, kind="stable")
        return rows.iloc[-self._limit :] if self._limit else rows


def look_through(
    table: Iterable[pd.DataFrame],
    validation: Validation,
    newest: Newest,
    see: Callable[[pd.DataFrame, pd.DataFrame], None] = lambda _table, _frame: None,
) -> Findings:
    """Return what is wrong with a table by schema and rules, its newest rows into `newest`.

    `see` is shown what fits of each part, and the part itself.
    """
    found = Findings()
    for frame in table:
        report = validation.part(frame)
        found.take(report.faults, frame)
        if report.table is not None:
            newest.take(report.table)
            see(report.table, frame)
        if found.enough or (report.table is None and not found.bad.size):  # columns are missing
            break
    else:
        found.take(validation.whole(), None)
    return found


def _refuse_too_large(source: str, folder: Path) -> None:
    """Raise `DataError` for files that cannot be held whole, before the machine kills whoever tries."""
    if not files.is_local(source):
        return
    size = sum(path.stat().st_size for path in files.matches(source, folder))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise DataError(
            f"{source}: {size / 1e9:.0f} GB of files are more than the {memory / 1e9:.0f} GB of memory here: "
            "set [data] chunk_rows, such as 500000"
        )
