"""Labelled rows from the journal: what was served, joined with what was observed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from everloop.data.schema import Schema, label
from everloop.journal import Position, Reader
from everloop.types import Feedback, Prediction

__all__ = ["labelled"]

Key = tuple[str, int]


def labelled(folder: Path, schema: Schema, until: float, end: Position | None = None) -> pd.DataFrame:
    """Return the rows whose label was observed at or before `until`, in the columns that `conform` takes.

    The first record of a prediction counts, and of its labels the one observed last; a label of an
    unknown prediction is left out, and so is one that the schema has no place for (text for a number, an
    unknown class), as monitoring does: one wrong label must not stop all training. Nothing behind `end` is
    read, so that a repetition reads the same.
    """
    served: dict[Key, tuple[float, dict[str, Any]]] = {}
    labels: dict[Key, Feedback] = {}
    reader = Reader(folder)
    while records := reader.poll(1):  # the position behind each record tells whether it lies before `end`
        if end is not None and reader.position > end:
            break
        record = records[0]
        if record.kind == "prediction":
            _serve(served, record.id, record.time, record.read(Prediction))
        elif record.kind == "feedback":
            found = record.read(Feedback)
            key = (found.prediction, found.row)
            known = labels.get(key)
            usable = found.time <= until and label(found.value, schema) is not None
            if usable and (known is None or known.time <= found.time):
                labels[key] = found
    reader.close()
    rows = [
        {schema.time: time, **inputs, schema.target.name: label(labels[key].value, schema)}
        for key, (time, inputs) in served.items()
        if key in labels
    ]
    return pd.DataFrame(rows, columns=[schema.time, *schema.names, schema.target.name])


def _serve(served: dict[Key, tuple[float, dict[str, Any]]], id: str, time: float, prediction: Prediction) -> None:
    count = len(next(iter(prediction.inputs.values())))
    for row in range(count):
        served.setdefault((id, row), (time, {name: values[row] for name, values in prediction.inputs.items()}))
