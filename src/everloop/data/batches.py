"""Rows of a source as a file of the data folder: of its kind, with the columns of the files that are there."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pandas as pd

from everloop.data.sources import files
from everloop.data.sources.messages import UNREADABLE

__all__ = ["columns_of", "write"]

Row = dict[str, Any]


def columns_of(folder: Path, but: str, source: str) -> list[str]:
    """Return the columns of the files that `source` matches in the data folder, but one of them; [] where none is."""
    found = sorted(path for path in folder.glob(PurePosixPath(source).name) if path.name != but)
    return [str(name) for name in files.head(found[0])] if found else []


def write(read: Callable[[], Iterable[Row]], path: Path, columns: Sequence[str]) -> list[str]:
    """Write the rows that `read` gives with these columns, by default all; returns the names of their other columns.

    A message that could not be read keeps its text in a column of its own.
    """
    there = dict[str, None]()
    for row in read():
        if not row.keys() <= there.keys():
            there |= dict.fromkeys(row)
    names = [*columns, *(name for name in there if name not in columns and (not columns or name == UNREADABLE))]
    whole = ({name: row.get(name) for name in names} for row in read())
    if path.suffix == ".parquet":
        _write_parquet(whole, path)
    elif path.suffix in files.SEPARATORS:
        _write_separated(whole, path, names)
    else:
        with path.open("wb") as file:
            file.writelines(msgspec.json.encode(row) + b"\n" for row in whole)
    return [name for name in there if name not in names]


def _write_separated(rows: Iterator[Row], path: Path, names: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=files.SEPARATORS[path.suffix], lineterminator="\n")
        writer.writerow(names)
        nested = {dict, list}
        writer.writerows([_text(v) if v.__class__ in nested else v for v in row.values()] for row in rows)


def _write_parquet(rows: Iterator[Row], path: Path) -> None:
    frame = pd.DataFrame(list(rows))
    for name in frame.columns[frame.dtypes.eq("object")]:
        kinds = {type(value) for value in frame[name] if value is not None}
        if len(kinds) > 1 and not kinds <= {int, float}:  # text, so that the schema refuses the rows that differ
            frame[name] = [None if value is None else str(_text(value)) for value in frame[name]]
    frame.to_parquet(path, index=False)


def _text(value: Any) -> Any:
    """Return what a field of a text file holds; what is nested is JSON."""
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
