"""The folders that the journal was exported to: an erasure reaches the tables there too."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from everloop.loop.workspace import Workspace

__all__ = ["column_name", "erase_from_exports", "ids_in_exports", "plain", "put", "remember"]

PLACES = "exports.json"
_FORBIDDEN = re.compile(r"[ ,;{}()\n\t=]")
"""What Spark takes in no column name."""


def remember(workspace: Workspace, out: Path) -> None:
    """Note a folder that is exported to."""
    places = sorted({*_remembered(workspace), str(out)})
    partial = workspace.journal / f"{PLACES}.partial"
    partial.write_bytes(msgspec.json.encode(places))
    partial.replace(workspace.journal / PLACES)


def erase_from_exports(workspace: Workspace, ids: Collection[str]) -> int:
    """Take the rows of these ids out of all tables that were exported and still exist; returns how many."""
    gone = 0
    for folder in _remembered(workspace):
        for file in sorted(Path(folder).glob("*/*.parquet")):
            gone += _without(file, ids)
    return gone


def ids_in_exports(workspace: Workspace, column: str, value: str) -> set[str]:
    """Return the ids of exported predictions that hold a value, of segments too that were dropped since."""
    found: set[str] = set()
    name = column_name("input", column)
    for folder in _remembered(workspace):
        for file in sorted(Path(folder).glob("predictions/*.parquet")):
            if name in pq.read_schema(file).names:
                table = pq.read_table(file, columns=["id", name]).to_pydict()
                found |= {id for id, held in zip(table["id"], table[name], strict=True) if plain(held) == value}
    return found


def plain(value: Any) -> str:
    """Return a value as a person writes it on the command line: 17 for 17.0, true for True."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def column_name(side: str, column: str) -> str:
    """Return what an input or output is called in the tables."""
    return f"{side}_{_FORBIDDEN.sub('_', column)}"


def put(partial: Path, file: Path) -> None:
    """Put a written file on the disk, and in its place."""
    with partial.open("rb+") as written:
        os.fsync(written.fileno())
    partial.replace(file)


def _without(file: Path, ids: Collection[str]) -> int:
    """Rewrite a table without the rows of these ids, where it has some."""
    if b"everloop" not in (pq.read_schema(file).metadata or {}):  # somebody else's
        return 0
    held = pq.read_table(file, columns=["id"])["id"].to_pylist()
    keep = [id not in ids for id in held]
    if all(keep):
        return 0
    partial = file.with_suffix(".partial")
    pq.write_table(pq.read_table(file).filter(pa.array(keep)), partial)
    put(partial, file)
    return keep.count(False)


def _remembered(workspace: Workspace) -> list[str]:
    try:
        return msgspec.json.decode((workspace.journal / PLACES).read_bytes(), type=list[str])
    except FileNotFoundError:
        return []
