"""Tables in files: CSV, Parquet, JSON lines; one path, URL or a glob; as one table, or in parts."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from everloop.data.schema import refuse_no_values
from everloop.data.sources import objects
from everloop.errors import DataError, UsageError

__all__ = ["SEPARATORS", "SUFFIXES", "fingerprint", "head", "matches", "parts", "read", "write"]

SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet", ".jsonl", ".ndjson")


def read(source: str, folder: Path) -> pd.DataFrame:
    """Return the rows of all files that `source` (a URL, or relative to `folder`) matches, in the order of their names.

    In text files an empty field is missing. A column that holds text anywhere is text in every file, as it
    is written there (`007`, `NA`), since that is how a client sends it; among numbers `NA` and the like are missing.
    """
    with _located(source, folder) as paths:
        return _read_all(source, paths)


def parts(source: str, folder: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Give the same rows, types and index so many at a time; text files are read twice for it, and no more is held."""
    with _located(source, folder) as paths:
        types = _types(source, paths, rows)
        start = 0
        for path in paths:
            for part in filter(len, _pieces(path, rows, types.text)):
                whole = types.applied(part)
                whole.index = pd.RangeIndex(start, start + len(whole))
                start += len(whole)
                yield whole


@contextlib.contextmanager
def _located(source: str, folder: Path) -> Iterator[list[Path]]:
    """Give the files that `source` matches; those of a URL as copies, which are gone afterwards."""
    if is_local(source):
        yield matches(source, folder)
        return
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
            yield [Path(copy) for copy in copies]
        except DataError as error:
            told = str(error)
            for name, url in copies.items():
                told = told.replace(name, url)
            raise DataError(told) from error


def _read_all(source: str, paths: list[Path]) -> pd.DataFrame:
    frames = [_read_one(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        _check_columns(path, list(frame.columns), list(frames[0].columns))
    first = list(frames[0].columns)
    types = _joined(first, {name: {_kind(frame[name]) for frame in frames if len(frame)} for name in first})
    for path, frame in zip(paths, frames, strict=True):
        if types.text and path.suffix.lower() in SEPARATORS:
            frame[types.text] = _as_written(path, types.text)[types.text]
    plain = {name: dtype for name, dtype in types.dtypes.items() if dtype is object}
    frames = [frame.astype(plain) for frame in frames] if plain else frames
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        raise DataError(_no_rows(source, paths))
    return pd.concat(filled, ignore_index=True)


def _check_columns(path: Path, columns: list[Any], first: list[Any]) -> None:
    if columns != first:
        odd = sorted(set(columns) ^ set(first)) or ["their order"]
        raise DataError(f"{path}: its columns differ from the first file's: {', '.join(map(str, odd[:5]))}")


class _Types(NamedTuple):
    """What the columns of files hold, over all of their parts."""

    columns: list[Any]
    text: list[Any]
    dtypes: dict[Any, Any]

    def applied(self, part: pd.DataFrame) -> pd.DataFrame:
        """Return a part with all columns, in the types that the whole table has."""
        return part.reindex(columns=self.columns).astype(self.dtypes)


def _types(source: str, paths: list[Path], rows: int) -> _Types:
    """Go through all parts for what their columns hold."""
    first, found = list[Any](), dict[Any, set[Any]]()
    for path in paths:
        columns = dict[Any, None]()
        for part in _pieces(path, rows):
            columns |= dict.fromkeys(part.columns)
            for name in part.columns if len(part) else ():
                found.setdefault(name, set()).add(_kind(part[name]))
        first = first or list(columns)
        _check_columns(path, list(columns), first)
    if not found:
        raise DataError(_no_rows(source, paths))
    return _joined(first, found)


def _no_rows(source: str, paths: list[Path]) -> str:
    return f"{paths[0]}: the file holds no rows" if len(paths) == 1 else f"[data] source {source!r}: no file holds rows"


def _joined(columns: list[Any], found: dict[Any, set[Any]]) -> _Types:
    """Return what columns hold of whose parts this was found."""
    kinds = {name: {kind for kind in held if kind is not None} for name, held in found.items()}
    text = [name for name in columns if _is_text(kinds[name])]
    plain = {name: _common(kinds[name], None in found[name]) for name in columns if name not in text}
    return _Types(columns, text, {name: dtype for name, dtype in plain.items() if dtype is not None})


def _kind(values: pd.Series[Any]) -> Any:
    """Return what a column's values are: text, bool, object, a dtype; None where all are missing."""
    if values.isna().all():
        return None
    if _holds_text(values):
        return "text"
    if values.dtype == object:
        return "bool" if all(isinstance(v, bool) for v in values.dropna()) else "object"
    return "bool" if values.dtype == bool else values.dtype


def _is_text(kinds: set[Any]) -> bool:
    """Return whether a column of such parts is text: it holds a text, or truth values among numbers."""
    return "text" in kinds or ("bool" in kinds and any(isinstance(kind, np.dtype) for kind in kinds))


def _common(kinds: set[Any], gaps: bool) -> Any:
    """Return the dtype of a whole column of such parts; None where it stays as it comes."""
    if not kinds or "object" in kinds:
        return object if kinds else None
    if "bool" in kinds:
        return object if gaps else None
    if any(kind.kind not in "iuf" for kind in kinds):
        return None
    return np.result_type(*kinds, *([np.float64] if gaps else []))


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write rows as the kind of file that the name says; what was there stays whole until they are."""
    suffix, partial = path.suffix.lower(), path.with_name(f".{path.name}.partial")
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: rows are written as {', '.join(SUFFIXES)}: rename it")
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".parquet":
        rows.to_parquet(partial, index=False)
    elif suffix in SEPARATORS:
        for name in rows.columns:
            refuse_no_values(rows[name], str(name))
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


def is_local(source: str) -> bool:
    """Tell whether a source lies in a folder of this machine, and not in a bucket or behind a server."""
    return "://" not in source or source.startswith("file://")


def lacks(source: str, folder: Path) -> str:
    """Return what `matches` would raise where there is no file, else an empty text; buckets are not looked into."""
    if not is_local(source):
        return ""
    try:
        matches(source, folder)
    except DataError as error:
        return str(error)
    return ""


def _read_one(path: Path) -> pd.DataFrame:
    with _told(path):
        if path.suffix.lower() == ".parquet":
            frame = _of_numpy(pd.read_parquet(path))
        elif path.suffix.lower() in SEPARATORS:
            frame = _read_separated(path)
        else:
            (frame,) = _read_lines(path)
    return frame


def _pieces(path: Path, rows: int, text: Sequence[Any] = ()) -> Iterator[pd.DataFrame]:
    """Give a file's rows so many at a time, `text` columns as they are written; one without rows is a part too."""
    with _told(path):
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path, pre_buffer=False)  # or all that was read stays in memory
            batches = (
                file.iter_batches(batch_size=rows) if file.metadata.num_rows else [file.schema_arrow.empty_table()]
            )
            yield from (_of_numpy(batch.to_pandas().reset_index(drop=True)) for batch in batches)
        elif path.suffix.lower() in SEPARATORS:
            with contextlib.ExitStack() as opened:
                parts = opened.enter_context(_read_csv(path, low_memory=False, chunksize=rows))
                written: Any = itertools.repeat(None)
                if text:
                    written = opened.enter_context(_as_written(path, text, chunksize=rows))
                for part, words in zip(parts, written, strict=False):
                    _check_fields(part)
                    yield part if words is None else part.assign(**{str(name): words[name] for name in text})
        else:
            yield from _read_lines(path, rows)


def _of_numpy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with nullable numbers and truth values as other files give them."""
    found = frame
    for name in frame.columns:
        values: Any = frame[name]
        dtype: Any = values.dtype
        if dtype.kind in "iufb" and not isinstance(dtype, np.dtype):
            there = values.notna()
            if there.all() or dtype.kind == "f":
                values = values.astype(dtype.numpy_dtype)
            else:
                values = values.astype(object).where(there, None) if dtype.kind == "b" else values.astype(float)
            found = found.assign(**{str(name): values})
    return found


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what is wrong with a file in one sentence."""
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}: use .csv, .tsv, .parquet or .jsonl")
    try:
        yield
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read: its text is not UTF-8 ({error.reason})") from error
    except (ValueError, OSError) as error:  # a parser error is a ValueError and names the line
        raise DataError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error


def _read_separated(path: Path) -> pd.DataFrame:
    frame = _read_csv(path, low_memory=False)
    _check_fields(frame)
    return frame  # type: ignore[no-any-return]


def _check_fields(frame: pd.DataFrame) -> None:
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for row names
        raise ValueError(f"line 2 has more fields than the header, which has {len(frame.columns)}")


def _as_written(path: Path, columns: Sequence[Any], **options: Any) -> Any:
    """Return columns of a text file as text, of which only the empty field is missing."""
    return _read_csv(path, usecols=list(columns), dtype=str, keep_default_na=False, na_values=[""], **options)


def _read_csv(path: Path, **options: Any) -> Any:
    """Return the rows of a text file, or what gives so many of them at a time."""
    return pd.read_csv(path, sep=SEPARATORS[path.suffix.lower()], **options)


def _read_lines(path: Path, size: int = 0) -> Iterator[pd.DataFrame]:
    """Give the rows of JSON lines so many at a time, or all at once."""
    rows, none = list[dict[str, Any]](), True
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                rows += [msgspec.json.decode(line, type=dict[str, Any])] if line.strip() else []
            except msgspec.MsgspecError as error:
                raise ValueError(f"line {number}: {error}") from error
            if size and len(rows) == size:
                yield pd.DataFrame(rows)
                rows, none = [], False
    if not rows and none:
        raise pd.errors.EmptyDataError
    if rows:
        yield pd.DataFrame(rows)


def _holds_text(values: pd.Series[Any]) -> bool:
    return values.dtype.kind not in "biufcmM" and any(isinstance(v, str) for v in values)
