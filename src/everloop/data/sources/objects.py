"""Objects behind a URL, whatever its protocol: what there is, told apart by content, and how to get one."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from everloop.errors import SystemError_, UsageError

__all__ = ["Found", "fetch", "listing", "matching", "there"]

DRIVERS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}


class Found(NamedTuple):
    """One object: its name below the URL that was listed, its size, and what differs when its content does."""

    name: str
    size: int
    etag: str


def fetch(source: str, target: Path) -> None:
    """Copy what a URL or a path gives to `target`; raises `SystemError_` with the reason where it cannot be had."""
    with _spoken(source, "fetched"):
        if "://" not in source:  # inside of the kernel, for a quarter of the CPU
            shutil.copyfile(source, target)
            return
        with fsspec.open(source, "rb") as stream, target.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)


def listing(url: str) -> list[Found]:
    """Return all objects below a URL or a folder, in the order of their names; none where it is not there yet.

    Local files are told apart by their content, other objects by what their service says (a tag, a time of change).
    """
    with _spoken(url, "listed"):
        files, root = fsspec.core.url_to_fs(url)
        files.invalidate_cache()
        try:
            found: dict[str, dict[str, Any]] = files.find(root, detail=True)
        except FileNotFoundError:
            return []
    start = len(root.rstrip("/")) + 1
    return [Found(path[start:], int(info.get("size") or 0), _etag(path, info)) for path, info in sorted(found.items())]


def there(url: str) -> bool:
    """Return whether a URL or a path leads to anything: in a bucket, a folder is there once an object lies in it."""
    with _spoken(url, "looked for"):
        files, root = fsspec.core.url_to_fs(url)
        files.invalidate_cache()
        return bool(files.exists(root))


def matching(pattern: str) -> list[str]:
    """Return the URLs of the objects that a pattern such as `s3://bucket/rides/*.csv` matches, in their order."""
    with _spoken(pattern, "listed"):
        files, inner = fsspec.core.url_to_fs(pattern)
        files.invalidate_cache()
        try:
            found = files.glob(inner)
        except FileNotFoundError:
            return []
        return [str(files.unstrip_protocol(path)) for path in sorted(found)]


def _etag(path: str, info: dict[str, Any]) -> str:
    if "ino" in info and "mtime" in info:  # a file of this machine
        return _digest(path, info["size"], info["mtime"])
    for key in ("ETag", "etag", "md5Hash", "crc32c", "checksum", "uid"):
        if value := info.get(key):
            return str(value).strip('"')
    changed = next((info[k] for k in ("LastModified", "last_modified", "updated", "mtime", "created") if k in info), "")
    return f"{info.get('size')}-{changed}"


@functools.lru_cache(maxsize=10_000)
def _digest(path: str, _size: int, _changed: float) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def _spoken(source: str, done: str) -> Iterator[None]:
    """Say what went wrong in one sentence, whatever the protocol's library raises."""
    try:
        yield
    except ImportError as error:
        driver = DRIVERS.get(source.partition("://")[0])
        how = f"pip install 'everloop[{driver}]'" if driver else str(error)
        raise UsageError(f"{source} cannot be read without its driver: {how}") from error
    except Exception as error:  # each protocol's library raises its own kind
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SystemError_(f"{source} cannot be {done}: {reason.splitlines()[0]}") from error
