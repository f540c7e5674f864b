"""What a person decides about a refused delivery: that it is added after all, whole or without its bad rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from everloop.data import quarantine, schema_file
from everloop.data.sources import files
from everloop.data.sources.messages import UNREADABLE
from everloop.data.validation import row_numbers, validate
from everloop.errors import DataError, UsageError
from everloop.loop.dataset import Added, add_data, quarantine_of
from everloop.loop.parts import parts_of
from everloop.loop.workspace import Workspace
from everloop.training import forget_modules
from everloop.types import show_time

__all__ = ["refused", "release"]


def refused(workspace: Workspace) -> list[dict[str, Any]]:
    """Return a row for each delivery in the quarantine, oldest first."""
    return [
        {
            "id": one.id,
            "when": show_time(one.time) if one.time else "",
            "name": one.name,
            "rows": one.rows,
            "bad": one.bad,
            "reason": one.faults[0].reason if one.faults else "",
        }
        for one in quarantine.listed(quarantine_of(workspace))
    ]


def release(
    workspace: Workspace,
    id: str,
    *,
    without_bad_rows: bool = False,
    accept_schema: bool = False,
    now: float | None = None,
) -> Added:
    """Add a refused delivery, checked as any other; it leaves the quarantine when it has become a version.

    `without_bad_rows` adds the rows that are not at fault, `accept_schema` freezes what all rows show now. Raises
    `DataError` where it still does not fit.
    """
    place = quarantine_of(workspace)
    found, folder = quarantine.get(place, id)
    if not found.file:
        raise UsageError(f"{id} holds no file: correct {found.source} where it lies, and add it again")
    came = found.source.rpartition("/")[0] or "."  # images and videos that the table names still lie there
    with tempfile.TemporaryDirectory(prefix="everloop-release-") as other:
        source = folder / found.file
        if without_bad_rows:
            source = _without_bad_rows(workspace, source, Path(other), now, came)
        added = add_data(
            workspace,
            [str(source)],
            accept_schema=accept_schema,
            replace=True,
            now=now,
            beside=came,
            origin=found.source,
        )
    quarantine.drop(place, id)
    return added


def _without_bad_rows(workspace: Workspace, path: Path, place: Path, now: float | None, came: str) -> Path:
    """Write the rows of a file that are not at fault."""
    schema = schema_file.read(workspace.folder)
    if schema is None:
        raise UsageError(f"there is no {schema_file.FILE} yet that tells which rows are at fault")
    forget_modules(workspace.folder)
    raw = files.read(str(path), path.parent)
    try:
        frame = parts_of(workspace.settings, workspace.folder, path, Path(came)).whole()
    except DataError as error:  # an image or a video that a row names cannot be had
        if not error.rows:
            raise
        kept = raw.drop(index=pd.Index(error.rows))
        files.write(kept, place / path.name)
        return _without_bad_rows(workspace, place / path.name, place, now, came)
    report = validate(frame, schema, workspace.settings.data.checks, now=now)
    if whole := [fault.reason for fault in report.faults if not fault.rows]:
        raise UsageError(f"not some rows but the whole of {path.name} is at fault: {whole[0]}")
    raw = raw.drop(columns=UNREADABLE, errors="ignore")
    kept = raw.drop(index=pd.Index(row_numbers(frame)[report.bad] - 1))
    files.write(kept, place / path.name)
    return place / path.name
