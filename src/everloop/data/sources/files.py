"""Tables in files: CSV, Parquet, JSON lines; one path or a glob."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from everloop.errors import DataError

__all__ = ["fingerprint", "read"]


def read(source: str, folder: Path) -> pd.DataFrame:
    """Return the rows of all files that `source` (relative to `folder`) matches, in the order of their names."""
    frames: list[pd.DataFrame] = []
    for path in _matches(source, folder):
        frame = _read_one(path)
        if frames and list(frame.columns) != list(frames[0].columns):
            odd = sorted(set(frame.columns) ^ set(frames[0].columns)) or ["their order"]
            raise DataError(f"{path}: its columns differ from the first file's: {', '.join(map(str, odd[:5]))}")
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    if table.empty:
        raise DataError(f"[data] source {source!r}: the files hold no rows")
    return table


def fingerprint(source: str, folder: Path) -> str:
    """Return a SHA-256 over the names and contents of the files that `source` matches."""
    digest = hashlib.sha256()
    for path in _matches(source, folder):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _matches(source: str, folder: Path) -> list[Path]:
    pattern = Path(source.removeprefix("file://"))
    base = Path(pattern.anchor) if pattern.is_absolute() else folder
    inner = pattern.relative_to(pattern.anchor) if pattern.is_absolute() else pattern
    found = sorted(p for p in base.glob(str(inner)) if p.is_file())
    if not found:
        raise DataError(f"[data] source {source!r}: no file matches in {folder}")
    return found


def _read_one(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix in (".jsonl", ".ndjson"):
            return pd.read_json(path, lines=True)
        if path.suffix in (".csv", ".tsv"):
            return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", low_memory=False)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty") from None
    except (ValueError, OSError) as error:  # a parser error is a ValueError and names the line
        raise DataError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error
    raise DataError(f"{path}: unknown kind of file {path.suffix!r}: use .csv, .tsv, .parquet or .jsonl")
