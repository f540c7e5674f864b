"""A project's files as its trainings read them, and what a person should know of their rows."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from everloop import registry
from everloop.data import Schema, infer, process, timed
from everloop.data.comparing import Shift, compare
from everloop.data.leakage import leaks
from everloop.data.media import columns_of, with_files
from everloop.data.sources import files
from everloop.errors import DataError
from everloop.journal import Position, Reader, end
from everloop.loop.schemas import served
from everloop.loop.training_sets import table_of
from everloop.loop.workspace import Workspace
from everloop.settings import Data, Settings, seconds
from everloop.training import prepare
from everloop.types import Prediction

__all__ = ["file_table", "frozen_from", "leaks_of", "news", "served_inputs", "skew", "skew_of"]

NEWEST, ENOUGH = 20_000, 100
CONSTANT = 20
"""Rows from which on a number to predict that never changes is a mistake."""


def file_table(settings: Settings, folder: Path, path: Path, base: Path | None = None) -> tuple[pd.DataFrame, str]:
    """Return a file's rows as a training prepares them, and the name of their time column.

    The files of images and videos that it names lie in `base`, by default beside it.
    """
    raw = process(files.read(str(path.absolute()), path.parent), settings.data.process, settings.data.time, os.environ)
    rows = with_files(prepare(settings.training.features, folder, raw), settings.data.columns, base or path.parent)
    return timed(rows, settings.data.time)


def frozen_from(frames: Sequence[pd.DataFrame], time: str, data: Data) -> Schema:
    """Return the schema that rows show; raises `DataError` where there is nothing to learn from them."""
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    schema = infer(rows, target=data.target, time=time, task=data.task, media=columns_of(data.columns))
    if len(rows) >= CONSTANT and rows[data.target].nunique() < 2:
        value = rows[data.target].iloc[0]
        raise DataError(f"column {data.target!r} (the target) is {value} in all rows: there is nothing to learn")
    return schema


def news(rows: pd.DataFrame, frame: pd.DataFrame, schema: Schema) -> Iterator[str]:
    """Tell what fits the schema but is new to it."""
    for column in schema.inputs:
        if column.categories is not None:
            unseen = sorted(set(rows[column.name].unique()) - set(map(str, column.categories)) - {""})
            if unseen:
                yield f"column {column.name!r} has values it never had: {', '.join(map(repr, unseen[:5]))}"
    extra = [str(n) for n in frame.columns if n not in {*schema.names, schema.time, schema.target.name}]
    if extra:
        yield f"left out, since the schema does not name it: {', '.join(extra[:5])}"


def leaks_of(tables: Sequence[pd.DataFrame], schema: Schema, settings: Settings) -> list[str]:
    """Return what the newest rows might leak from, a sentence each."""
    table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    return [leak.told for leak in leaks(table, schema, seconds(settings.training.horizon))]


def skew_of(workspace: Workspace) -> list[str]:
    """Return which inputs are served otherwise than the model in production was trained on, a sentence each."""
    return [
        f"column {s.column!r} is served otherwise than it was trained on: {s.before}, then {s.after}"
        for s in skew(workspace)
        if s.shifted
    ]


def skew(workspace: Workspace) -> list[Shift]:
    """Return how the newest served rows differ from the champion's training set; nothing where there are too few."""
    now = served(workspace)
    if now is None:
        return []
    rows = served_inputs(workspace.journal, now.schema)
    if len(rows) < ENOUGH:
        return []
    with workspace.store.read() as connection:
        version = registry.get(connection, workspace.name, now.version)["data_version"]
    return compare(table_of(workspace, version), rows, [c.name for c in now.schema.inputs if c.prepare is None])


def served_inputs(journal: Path, schema: Schema) -> pd.DataFrame:
    """Return the inputs of the newest 20,000 served rows in the journal's last two segments, oldest first."""
    newest: deque[dict[str, object]] = deque(maxlen=NEWEST)
    reader = Reader(journal)
    reader.seek(Position(max(0, end(journal).segment - 1)))
    while records := reader.poll():
        for record in records:
            if record.kind == "prediction":
                inputs = record.read(Prediction).inputs
                count = len(next(iter(inputs.values())))
                newest.extend({name: values[row] for name, values in inputs.items()} for row in range(count))
    reader.close()
    dtypes = {c.name: ("float64" if c.dtype == "float64" else object) for c in schema.inputs}
    return pd.DataFrame(list(newest), columns=schema.names).astype(dtypes)
