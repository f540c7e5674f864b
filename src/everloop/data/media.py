"""Images and videos of a table: from names of files beside it, URLs or bytes to the one text that stands for each."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from everloop.data.sources import files, objects
from everloop.data.validation import row_numbers
from everloop.errors import DataError, SystemError_, UsageError
from everloop.inference.media import media_column, packed, text_of
from everloop.settings import Media
from everloop.types import Column

__all__ = ["beside", "columns_of", "named_files", "value_of", "with_files"]


def columns_of(declared: Mapping[str, Media]) -> dict[str, Column]:
    """Return the columns that `[data.columns]` declares, by name."""
    return {name: media_column(name, told.kind, told.size, told.mode, told.frames) for name, told in declared.items()}


def with_files(frame: pd.DataFrame, declared: Mapping[str, Media], base: Path | None) -> pd.DataFrame:
    """Return the rows with every image and video in them; raises `DataError` naming the column and the rows.

    Names of files are relative to `base`; without it there is no place for them, only URLs and bytes.
    """
    found = frame
    for name in declared:
        if name in frame.columns:
            found = found.assign(**{name: _filled(frame[name], base)})
    return found


def _filled(given: pd.Series[Any], base: Path | None) -> pd.Series[Any]:
    """Return a column with its files in it; the error's rows are those of the file that the table was read from."""
    values, lacking = list[str | None](), dict[int, str]()
    for place, value in enumerate(given):
        try:
            values.append(value_of(value, base))
        except (OSError, UsageError, SystemError_) as error:
            lacking[place] = f"{error.strerror} ({value})" if isinstance(error, OSError) else str(error)
    if lacking:
        rows = row_numbers(given)[list(lacking)]
        more = f" ({len(rows)} such rows)" if len(rows) > 1 else ""
        raise DataError(
            f"column {given.name!r}, row {rows[0]}: {next(iter(lacking.values()))}{more}", (rows - 1).tolist()
        )
    return pd.Series(values, index=given.index, dtype=object, name=given.name)


def value_of(value: Any, base: Path | None) -> str | None:
    """Return the text that stands for an image or a video, whatever it is given as; None for a missing one.

    A text with a dot in it is a URL or a name; any other is the base64 of a file, and stays as it is.
    """
    if isinstance(value, bytes):
        return text_of(value)
    if hasattr(value, "dtype") and getattr(value, "ndim", 0) > 1:
        return packed(value)
    if not isinstance(value, str) or not value:
        return None
    if "://" in value:
        with tempfile.TemporaryDirectory(prefix="everloop-media-") as place:
            objects.fetch(value, copy := Path(place, "file"))
            return text_of(copy.read_bytes())
    if not _is_name(value):
        return value
    if base is None:
        raise UsageError(f"{value!r} is the name of a file, and there is no table beside which it lies: send its bytes")
    return text_of((base / _plain(value)).read_bytes())


def named_files(frame: pd.DataFrame, declared: Mapping[str, Media]) -> list[str]:
    """Return the names of all files that a table names, each once, in order."""
    names = {v for name in declared if name in frame.columns for v in frame[name] if isinstance(v, str) and _is_name(v)}
    return sorted(_plain(name) for name in names)


def beside(source: str, folder: Path) -> Path | None:
    """Return the folder beside whose tables files are named; None where tables come from a URL."""
    if not files.is_local(source):
        return None
    path = Path(source.removeprefix("file://"))
    parts = path.parent.parts
    fixed = next((place for place, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
    return folder.joinpath(*parts[:fixed])


def _is_name(value: str) -> bool:
    return "." in value and "://" not in value


def _plain(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"{name!r} lies outside of the table's folder: name files below it")
    return str(path)
