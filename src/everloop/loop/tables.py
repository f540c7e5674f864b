"""Whole files against a running server: predictions of a table's rows, labels of a table's predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from everloop.data.sources import files
from everloop.errors import DataError, close_match
from everloop.loop.client import Client, infer_request
from everloop.serving.protocol import FeedbackItem

__all__ = ["label_file", "predict_file"]

BATCH = 200
Progress = Callable[[int, int], None]


def predict_file(client: Client, path: Path, progress: Progress) -> pd.DataFrame:
    """Return the file's rows with `prediction_id`, `row`, `version` and the model's outputs beside them.

    Raises `DataError` for a missing column; the columns that the model does not take stay as they are.
    """
    table = files.read(str(path.absolute()), path.parent)
    inputs = {column.name: column.datatype for column in client.metadata().inputs}
    for name in inputs:
        if name not in table.columns:
            raise DataError(f"{path}: column {name!r} is missing{close_match(name, map(str, table.columns))}")
    answers: list[dict[str, Any]] = []
    for start in range(0, len(table), BATCH):
        rows = table.iloc[start : start + BATCH]
        columns = {name: _values(rows[name], datatype) for name, datatype in inputs.items()}
        response = client.infer(infer_request(columns, inputs))
        found = {output.name: _by_row(output.data, len(rows)) for output in response.outputs}
        for row in range(len(rows)):
            told = {
                "prediction_id": response.parameters["prediction_id"],
                "row": row,
                "version": response.model_version,
            }
            answers.append(told | {name: values[row] for name, values in found.items()})
        progress(start + len(rows), len(table))
    return pd.concat([table.reset_index(drop=True), pd.DataFrame(answers)], axis=1)


def label_file(client: Client, path: Path, value: str, progress: Progress) -> int:
    """Return how many labels were taken: column `value` of rows that name their `prediction_id` (and `row`)."""
    table = files.read(str(path.absolute()), path.parent)
    for name in ("prediction_id", value):
        if name not in table.columns:
            raise DataError(f"{path}: column {name!r} is missing{close_match(name, map(str, table.columns))}")
    known = table[table[value].notna()]
    rows = known["row"].astype(int).tolist() if "row" in known.columns else [0] * len(known)
    labels = [
        FeedbackItem(prediction=str(id), value=_plain(v), row=row)
        for id, v, row in zip(known["prediction_id"], known[value], rows, strict=True)
    ]
    taken = 0
    for start in range(0, len(labels), BATCH):
        taken += client.feedback(labels[start : start + BATCH])
        progress(min(start + BATCH, len(labels)), len(labels))
    return taken


def _values(values: pd.Series[Any], datatype: str) -> list[Any]:
    missing = "" if datatype == "BYTES" else None
    convert = {"BYTES": str, "BOOL": bool, "INT64": int}.get(datatype, _plain)
    return [missing if pd.isna(v) else convert(v) for v in values]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _by_row(data: list[Any], rows: int) -> list[Any]:
    width = len(data) // rows
    return data if width == 1 else [data[i * width : (i + 1) * width] for i in range(rows)]
