"""Files of rows to label: a project's columns as they came, the target to be filled in, and why each row was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from everloop.data.sources import files
from everloop.errors import DataError, UsageError

__all__ = ["CONFIDENCE", "KINDS", "NOTES", "PREDICTION", "REASON", "SUGGESTED", "as_written", "filled", "read", "write"]

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


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write rows to label as text that a person can fill in."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"{path}: rows to label are written as {', '.join(KINDS)}: rename it")
    files.write(rows, path)
