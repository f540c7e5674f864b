"""Whole files against a running server: predictions of a table's rows, labels of a table's predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from everloop.data.media import value_of
from everloop.data.sources import files
from everloop.errors import DataError, SystemError_, UsageError, close_match
from everloop.loop.client import Client, infer_request
from everloop.serving.protocol import FeedbackItem
from everloop.settings import Features

__all__ = ["label_rows", "predict_rows", "read_rows"]

BATCH, FEW = 200, 20
"""Rows of one request, and of one with images or videos."""
FILES = "UINT8"
"""What the server says of columns of images and videos, which take files as well."""
Progress = Callable[[int, int], None]


def read_rows(path: Path) -> pd.DataFrame:
    """Return the rows of one file: CSV, TSV, Parquet or JSON lines."""
    return files.read(str(path.absolute()), path.parent)


def predict_rows(
    client: Client,
    given: pd.DataFrame,
    prepare: Callable[[pd.DataFrame], pd.DataFrame],
    progress: Progress = lambda _done, _total: None,
    source: str = "the rows",
    folder: Path | None = None,
    online: Features | None = None,
) -> pd.DataFrame:
    """Return rows with `prediction_id`, `row`, `version` and the model's outputs beside them.

    Rows that lack a column of the model are asked as `prepare` returns them, which must keep their index. Raises
    `DataError` for a missing column; the columns that the model does not take stay as they are. Images and videos are
    bytes, arrays, base64, URLs, or names of files below `folder`. Features that the server looks up `online` may be
    missing where their keys are there.
    """
    inputs = {column.name: column.datatype for column in client.metadata().inputs}
    given = given.reset_index(drop=True)
    inputs = _sent(inputs, given, online) if online else inputs
    table = given if set(inputs) <= set(given.columns) else prepare(given)
    if online:  # a features function may return the model's columns only
        table = table.join(given[[key for key in online.keys if key in inputs and key in given and key not in table]])
    for name in inputs:
        if name not in table.columns:
            raise DataError(f"{source}: column {name!r} is missing{close_match(name, map(str, table.columns))}")
    answers: list[dict[str, Any]] = []
    taken = {"prediction_id", "row", "version"} & set(given.columns)
    if taken:
        raise DataError(f"{source}: column {min(taken)!r} has the name of an answer: drop it, or rename it")
    batch = FEW if FILES in inputs.values() else BATCH
    for start in range(0, len(table), batch):
        rows = table.iloc[start : start + batch]
        columns = {
            name: _files(rows[name], source, folder) if datatype == FILES else _values(rows[name], datatype)
            for name, datatype in inputs.items()
        }
        sent = {name: "BYTES" if datatype == FILES else datatype for name, datatype in inputs.items()}
        response = client.infer(infer_request(columns, sent))
        found = {output.name: _by_row(output.data, len(rows)) for output in response.outputs}
        for row in range(len(rows)):
            named = {
                "prediction_id": response.parameters["prediction_id"],
                "row": row,
                "version": response.model_version,
            }
            answers.append(named | {name: values[row] for name, values in found.items()})
        progress(start + len(rows), len(table))
    told = pd.DataFrame(answers, index=table.index)
    return given.join(told.rename(columns={name: f"{name}_answer" for name in told if name in given}), how="right")


def _sent(inputs: dict[str, str], table: pd.DataFrame, online: Features) -> dict[str, str]:
    """Return the datatypes of the columns that are sent: the keys of features in place of those that are missing."""
    known = {feature.rpartition(":")[2] for feature in online.features}
    lacking = {name for name in inputs if name in known and name not in table}
    kept = {name: datatype for name, datatype in inputs.items() if name not in lacking}
    if not lacking:
        return kept
    kinds = {"i": "INT64", "u": "INT64", "f": "FP64", "b": "BOOL"}
    keys = [key for key in online.keys if key not in kept]
    return kept | {key: kinds.get(table[key].dtype.kind, "BYTES") if key in table else "BYTES" for key in keys}


def label_rows(
    client: Client,
    table: pd.DataFrame,
    value: str,
    progress: Progress = lambda _done, _total: None,
    source: str = "the rows",
) -> int:
    """Return how many labels were taken: column `value` of rows that name their `prediction_id` (and `row`)."""
    for name in ("prediction_id", value):
        if name not in table.columns:
            raise DataError(f"{source}: column {name!r} is missing{close_match(name, map(str, table.columns))}")
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


def _files(values: pd.Series[Any], source: str, folder: Path | None) -> list[str]:
    found = []
    for row, value in values.items():
        try:
            found.append(value_of(value, folder) or "")
        except (OSError, UsageError, SystemError_) as error:
            told = f"{error.strerror} ({value})" if isinstance(error, OSError) else str(error)
            raise DataError(f"{source}: column {values.name!r}, row {row}: {told}") from error
    return found


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _by_row(data: list[Any], rows: int) -> list[Any]:
    width = len(data) // rows
    return data if width == 1 else [data[i * width : (i + 1) * width] for i in range(rows)]
