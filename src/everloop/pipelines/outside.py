"""What the world outside holds right now: fingerprints of files, buckets and queries that a step reads."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import sqlalchemy as sa

from everloop.errors import UsageError
from everloop.pipelines.declared import Query

__all__ = ["fingerprint_outside", "rows_of"]

_PIECE = 1 << 20


def fingerprint_outside(value: Any, folder: Path) -> str:
    """Return a hash of what a path, a glob, an fsspec URL or a `Query` leads to now; of nothing where nothing is.

    Local files count by their bytes, objects by their name and what the storage says of their content (ETag, hash or
    generation, else size and time), queries by their rows in order. Paths are relative to `folder`. Raises UsageError
    for any other value, and for what cannot be reached.
    """
    if isinstance(value, dict) and value.keys() == {"database", "sql"}:
        value = Query(**value)
    if isinstance(value, Query):
        parts: Iterator[bytes] = (msgspec.json.encode(row, enc_hook=str) for row in rows_of(value))
    elif isinstance(value, list | tuple):
        parts = (fingerprint_outside(one, folder).encode() for one in value)
    elif isinstance(value, str | Path):
        parts = _listed(str(value), folder)
    else:
        raise UsageError(f"a {type(value).__name__} names nothing outside: give a path, a URL or a Query")
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]


def rows_of(query: Query) -> Iterator[list[Any]]:
    """Return the rows of a query, one after the other; raises UsageError where the database refuses it."""
    try:
        engine = sa.create_engine(os.path.expandvars(query.database), poolclass=sa.NullPool)
        with engine.connect() as connection:
            yield from map(list, connection.execution_options(stream_results=True).execute(sa.text(query.sql)))
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        told = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UsageError(f"the query {query.sql!r} cannot be read: {told}") from None


def _listed(name: str, folder: Path) -> Iterator[bytes]:
    if "://" in name and not name.startswith("file://"):
        yield from _objects(name)
        return
    start = folder / name.removeprefix("file://")
    for match in sorted(glob.glob(str(start), recursive=True)):
        for path in sorted(Path(match).rglob("*")) if Path(match).is_dir() else [Path(match)]:
            if path.is_file():
                yield os.path.relpath(path, folder).encode()
                yield _hash(path).encode()


def _objects(url: str) -> Iterator[bytes]:
    try:
        fs, place = fsspec.core.url_to_fs(url)
        fs.invalidate_cache()
        found = fs.glob(place, detail=True) if any(c in place for c in "*?[") else fs.find(place, detail=True)
        if not found and fs.exists(place):
            found = {place: fs.info(place)}
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url} cannot be read: {error}") from error
    except Exception as error:  # each protocol's library raises its own kind
        raise UsageError(f"{url} cannot be listed: {str(error).splitlines()[0] if str(error) else error!r}") from error
    for name in sorted(found):
        if found[name].get("type") != "directory":
            yield name.encode()
            yield str(_content_of(found[name])).encode()


def _content_of(info: dict[str, Any]) -> Any:
    for told in ("ETag", "etag", "md5Hash", "md5", "crc32c", "generation"):
        if info.get(told):
            return info[told]
    return [info.get("size"), str(info.get("mtime") or info.get("LastModified") or info.get("updated"))]


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
