"""Tables in files: CSV, Parquet, JSON lines; one path, URL or a glob."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow.parquet as pq

from everloop.data.sources import objects
from everloop.errors import DataError, UsageError

__all__ = ["SEPARATORS", "SUFFIXES", "fingerprint", "head", "matches", "read", "write"]

SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet", ".jsonl", ".ndjson")


def read(source: str, folder: Path) -> pd.DataFrame:
    """Return the rows of all files that `source` (a URL, or relative to `folder`) matches, in the order of their names.

    In text files an empty field is missing. A column that holds text anywhere is text in every file, as it
    is written there (`007`, `NA`), since that is how a client sends it; among numbers `NA` and the like are missing.
    """
    if "://" in source and not source.startswith("file://"):
        return _read_objects(source)
    return _read_all(source, matches(source, folder))


def _read_objects(source: str) -> pd.DataFrame:
    """Read what a URL matches from copies of its own, which are gone afterwards."""
    urls = objects.matching(source)
    if not urls:
        raise DataError(f"[data] source {source!r}: no object matches")
    with tempfile.TemporaryDirectory(prefix="everloop-source-") as place:
        copies: dict[str, str] = {}
        for number, url in enumerate(urls):
            copy = Path(place, f"{number:06}-{url.rpartition('/')[2]}")
            objects.fetch(url, copy)
            copies[str(copy)] = url
        try:
            return _read_all(source, [Path(copy) for copy in copies])
        except DataError as error:
            told = str(error)
            for name, url in copies.items():
                told = told.replace(name, url)
            raise DataError(told) from error


def _read_all(source: str, paths: list[Path]) -> pd.DataFrame:
    frames = [_read_one(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if list(frame.columns) != list(frames[0].columns):
            odd = sorted(set(frame.columns) ^ set(frames[0].columns)) or ["their order"]
            raise DataError(f"{path}: its columns differ from the first file's: {', '.join(map(str, odd[:5]))}")
    text = [name for name in frames[0].columns if any(_holds_text(frame[name]) for frame in frames)]
    for path, frame in zip(paths, frames, strict=True):
        if text and path.suffix.lower() in SEPARATORS:
            frame[text] = _as_written(path, text)
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        raise DataError(f"[data] source {source!r}: the files hold no rows")
    return pd.concat(filled, ignore_index=True)


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write rows as the kind of file that the name says; what was there stays whole until they are."""
    suffix, partial = path.suffix.lower(), path.with_name(f".{path.name}.partial")
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: rows are written as {', '.join(SUFFIXES)}: rename it")
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".parquet":
        rows.to_parquet(partial, index=False)
    elif suffix in SEPARATORS:
        rows.to_csv(partial, index=False, sep=SEPARATORS[suffix])
    else:
        rows.to_json(partial, orient="records", lines=True, date_format="iso", force_ascii=False)
    partial.replace(path)


def fingerprint(source: str, folder: Path) -> str:
    """Return a SHA-256 over the names and contents of the files that `source` matches."""
    digest = hashlib.sha256()
    for path in matches(source, folder):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def head(path: Path) -> list[Any]:
    """Return the names of a file's columns."""
    if path.suffix.lower() in SEPARATORS:
        return list(_read_csv(path, nrows=0).columns)
    if path.suffix.lower() == ".parquet":
        return list(pq.read_schema(path).names)
    return list(_read_one(path).columns)


def matches(source: str, folder: Path) -> list[Path]:
    """Return the files that `source` (relative to `folder`) names, in order; raises `DataError` where there is none."""
    pattern = Path(source.removeprefix("file://"))
    base = Path(pattern.anchor) if pattern.is_absolute() else folder
    inner = pattern.relative_to(pattern.anchor) if pattern.is_absolute() else pattern
    found = sorted(p for p in base.glob(str(inner)) if p.is_file()) if inner.parts else []
    if not found:
        raise DataError(f"[data] source {source!r}: no file matches in {folder}")
    return found


def _read_one(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}: use .csv, .tsv, .parquet or .jsonl")
    try:
        if suffix == ".parquet":
            return pd.read_parquet(path)
        return _read_separated(path) if suffix in SEPARATORS else _read_lines(path)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read: its text is not UTF-8 ({error.reason})") from error
    except (ValueError, OSError) as error:  # a parser error is a ValueError and names the line
        raise DataError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error


def _read_separated(path: Path) -> pd.DataFrame:
    frame = _read_csv(path, low_memory=False)
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for row names
        raise ValueError(f"line 2 has more fields than the header, which has {len(frame.columns)}")
    return frame


def _as_written(path: Path, columns: list[Any]) -> pd.DataFrame:
    """Return columns of a text file as text, of which only the empty field is missing."""
    return _read_csv(path, usecols=columns, dtype=str, keep_default_na=False, na_values=[""])[columns]


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(path, sep=SEPARATORS[path.suffix.lower()], **options)
    return frame


def _read_lines(path: Path) -> pd.DataFrame:
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                rows += [msgspec.json.decode(line, type=dict[str, Any])] if line.strip() else []
            except msgspec.MsgspecError as error:
                raise ValueError(f"line {number}: {error}") from error
    if not rows:
        raise pd.errors.EmptyDataError
    return pd.DataFrame(rows)


def _holds_text(values: pd.Series[Any]) -> bool:
    return values.dtype.kind not in "biufcmM" and any(isinstance(v, str) for v in values)
