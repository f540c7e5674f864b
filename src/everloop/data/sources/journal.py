"""Labelled rows from the journal: what was served, joined with what was observed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from everloop.data.schema import Schema
from everloop.journal import Position, Reader
from everloop.types import Feedback, Prediction

__all__ = ["labelled"]

Key = tuple[str, int]


def labelled(folder: Path, schema: Schema, until: float, end: Position | None = None) -> pd.DataFrame:
    """Return the rows whose label was observed at or before `until`, in the columns of the training table.

    The first record of a prediction counts, and of its labels the one observed last; a label of an
    unknown prediction is left out. `end` bounds what is read, so that a repetition reads the same.
    """
    served: dict[Key, tuple[float, dict[str, Any]]] = {}
    labels: dict[Key, Feedback] = {}
    reader = Reader(folder)
    while records := reader.poll(5000):
        for record in records:
            if record.kind == "prediction":
                _serve(served, record.id, record.time, record.read(Prediction))
            elif record.kind == "feedback":
                label = record.read(Feedback)
                key = (label.prediction, label.row)
                if label.time <= until and (key not in labels or labels[key].time <= label.time):
                    labels[key] = label
        if end is not None and reader.position >= end:
            break
    reader.close()
    rows = [
        {schema.time: time, **inputs, schema.target.name: labels[key].value}
        for key, (time, inputs) in served.items()
        if key in labels
    ]
    frame = pd.DataFrame(rows, columns=[schema.time, *schema.names, schema.target.name])
    frame[schema.time] = pd.to_datetime(frame[schema.time], unit="s", utc=True)
    return frame


def _serve(served: dict[Key, tuple[float, dict[str, Any]]], id: str, time: float, prediction: Prediction) -> None:
    count = len(next(iter(prediction.inputs.values())))
    for row in range(count):
        served.setdefault((id, row), (time, {name: values[row] for name, values in prediction.inputs.items()}))
