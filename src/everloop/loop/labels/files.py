"""Files of rows to label: a project's columns as they came, the target to be filled in, and why each row was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from everloop.data.sources import files
from everloop.errors import DataError, UsageError
from everloop.loop.workspace import Workspace

__all__ = [
    "CONFIDENCE", "KINDS", "NOTES", "PREDICTION", "REASON", "SUGGESTED", "as_written", "filled", "labelled_files",
    "labels_of", "plain", "read", "write",
]  # fmt: skip

REASON, SUGGESTED, CONFIDENCE = "label_reason", "label_suggested", "label_confidence"
NOTES = (REASON, SUGGESTED, CONFIDENCE)
"""What is told beside each row, and is no part of it."""
PREDICTION = "prediction_id"
"""Stands in files of rows that were served."""
KINDS = (*files.SEPARATORS, ".jsonl", ".ndjson")


def read(path: Path) -> pd.DataFrame:
    """Return the rows of one file with their types, as trainings read them."""
    if not path.is_file():
        raise UsageError(f"{path} is no file")
    return files.read(str(path.absolute()), path.parent)


def as_written(path: Path) -> pd.DataFrame:
    """Return the same rows; of text files every value as it is written there, of which only the empty is missing."""
    if path.suffix.lower() not in files.SEPARATORS:
        return read(path)
    try:
        return pd.read_csv(
            path, sep=files.SEPARATORS[path.suffix.lower()], dtype=object, keep_default_na=False, na_values=[""]
        )
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error


def filled(rows: pd.DataFrame, target: str) -> pd.Series[Any]:
    """Return which rows have a label; without a column of labels none has one."""
    if target not in rows.columns:
        return pd.Series(False, index=rows.index)
    return rows[target].notna() & (rows[target].astype(str).str.strip() != "")


def labelled_files(workspace: Workspace) -> list[Path]:
    """Return the project's files of labelled rows; there may be none yet."""
    source = workspace.settings.data.source
    there = files.is_local(source) and not files.lacks(source, workspace.folder)
    return files.matches(source, workspace.folder) if there else []


def labels_of(workspace: Workspace, rows: pd.DataFrame) -> tuple[pd.Series[str], dict[str, tuple[str, str]]]:
    """Return a key a row, and by it what label the project's files give such a row, and in which file.

    Rows are the same that are so in all columns which those files have too.
    """
    target, found = workspace.settings.data.target, dict[str, tuple[str, str]]()
    tables = {path.name: read(path) for path in labelled_files(workspace)}
    given = [name for name in rows.columns if name not in (target, *NOTES)]
    columns = [name for name in given if all(name in there.columns for there in tables.values())] or given
    for file, there in tables.items():
        if {*columns, target} <= set(there.columns):
            labels = there[target].astype(object).map(plain)
            found |= {key: (told, file) for key, told in zip(_keys(there[columns]), labels, strict=True)}
    return _keys(rows[columns]), found


def _keys(rows: pd.DataFrame) -> pd.Series[str]:
    """Return a text a row, the same for the same values, whatever kind of file they come from."""
    texts = [rows[name].astype(object).map(plain) for name in rows.columns]
    return pd.Series(["\0".join(row) for row in zip(*texts, strict=True)], index=rows.index, dtype=object)


def plain(value: Any) -> str:
    """Return a value as text, the same for a whole number however it was read; empty where it is missing."""
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() else str(value)
    return "" if value is None or value is pd.NaT else str(value).strip()


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write rows to label as text that a person can fill in."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"{path}: rows to label are written as {', '.join(KINDS)}: rename it")
    files.write(rows, path)
