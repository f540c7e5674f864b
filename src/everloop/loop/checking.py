"""What a person should know of a project's rows: their schema, what is new, what leaks, how served ones differ."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from everloop import registry
from everloop.data import Schema
from everloop.data.comparing import Shift, compare
from everloop.data.leakage import leaks
from everloop.errors import DataError
from everloop.journal import Position, Reader, end
from everloop.loop.parts import Shown
from everloop.loop.schemas import served
from everloop.loop.training_sets import table_of
from everloop.loop.workspace import Workspace
from everloop.settings import Settings, seconds
from everloop.types import Prediction

__all__ = ["News", "frozen_from", "leaks_of", "served_inputs", "skew", "skew_of"]

NEWEST, ENOUGH = 20_000, 100
CONSTANT = 20
"""Rows from which on a number to predict that never changes is a mistake."""


def frozen_from(shown: Shown, target: str) -> Schema:
    """Return the schema that rows show; raises `DataError` where there is nothing to learn from them."""
    schema, rows = shown.schema(), shown.rows
    if shown.count >= CONSTANT and rows[target].nunique() < 2:
        value = rows[target].iloc[0]
        raise DataError(f"column {target!r} (the target) is {value} in all rows: there is nothing to learn")
    return schema


class News:
    """Tells what fits the schema but is new to it, over all parts of a table."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._unseen: dict[str, set[str]] = {}
        self._extra: dict[str, None] = {}

    def see(self, rows: pd.DataFrame, frame: pd.DataFrame) -> None:
        """Look at rows that fit, and at the part that they came from."""
        schema = self._schema
        for column in schema.inputs:
            if column.categories is not None:
                unseen = set(rows[column.name].unique()) - set(map(str, column.categories)) - {""}
                self._unseen.setdefault(column.name, set()).update(unseen)
        known = {*schema.names, schema.time, schema.target.name}
        self._extra |= dict.fromkeys(str(name) for name in frame.columns if name not in known)

    @property
    def told(self) -> list[str]:
        """What a person should read, a sentence each."""
        found = [
            f"column {name!r} has values it never had: {', '.join(map(repr, sorted(unseen)[:5]))}"
            for name, unseen in self._unseen.items()
            if unseen
        ]
        left = [f"left out, since the schema does not name it: {', '.join(list(self._extra)[:5])}"]
        return [*found, *(left if self._extra else [])]


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
