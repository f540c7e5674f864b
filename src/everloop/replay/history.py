"""A project's history, cut in two: what is known at the start, and what will arrive row by row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data import Schema, conform, event_times, infer, process, timed
from everloop.data.media import beside, columns_of, with_files
from everloop.data.sources import files
from everloop.errors import DataError
from everloop.settings import Settings
from everloop.training import forget_modules, prepare

__all__ = ["History", "load_history"]


class History(msgspec.Struct, frozen=True):
    """`known` holds raw rows as the source has them; `table` all rows as the model sees them, from `start` on live."""

    known: pd.DataFrame
    table: pd.DataFrame
    times: NDArray[np.float64]
    schema: Schema
    start: int

    @property
    def live(self) -> pd.DataFrame:
        return self.table.iloc[self.start :]

    @property
    def live_times(self) -> NDArray[np.float64]:
        return self.times[self.start :]

    def truth(self) -> NDArray[Any]:
        """Return the live targets: values, or class indices."""
        target = self.live[self.schema.target.name]
        if self.schema.task == "regression":
            return target.to_numpy(dtype=np.float64)
        index = {value: i for i, value in enumerate(self.schema.classes)}
        return np.asarray([index[v] for v in target], dtype=np.int64)


def load_history(folder: Path, settings: Settings, source: str | None = None, rows: int | None = None) -> History:
    """Return the history of `source` (default: the project's own), its first `rows`, cut at `[replay] start`."""
    raw = files.read(source or settings.data.source, folder)[:rows]
    forget_modules(folder)
    processed = process(raw, settings.data.process, settings.data.time, os.environ)
    plain = prepare(settings.training.features, folder, processed)
    filled = with_files(plain, settings.data.columns, beside(source or settings.data.source, folder))
    prepared, time = timed(filled, settings.data.time)
    media = columns_of(settings.data.columns)
    schema = infer(prepared, target=settings.data.target, time=time, task=settings.data.task, media=media)
    table = conform(prepared, schema)
    if not table.index.isin(raw.index).all():
        raise DataError(
            f"{settings.training.features!r} does not keep the rows' index: a replay must know which raw row is which; "
            "return the rows with the index they came with"
        )
    times = event_times(table, schema.time)
    start = int(len(table) * settings.replay.start)
    if start < 50 or len(table) - start < 50:
        raise DataError(f"{len(table)} rows are too few to replay: at least 50 must lie on each side of the start")
    return History(raw.loc[table.index[:start]], table.reset_index(drop=True), times, schema, start)
