"""Deliveries that were refused: the file as it came, its bad rows with their reasons; kept until a person decides."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from everloop.data.validation import Fault, row_numbers
from everloop.errors import NotFoundError

__all__ = ["Quarantined", "drop", "get", "listed", "put"]

REASONS, ROWS = "reasons.json", "rows.csv"
SHOWN = 10_000
"""Rows whose reasons are kept; of more only their number."""


class Quarantined(msgspec.Struct, frozen=True, omit_defaults=True):
    """One refused delivery: where it came from, when, how many rows it had, and what is wrong with which of them."""

    id: str
    name: str
    source: str
    time: float
    rows: int
    bad: int
    faults: tuple[Fault, ...]
    file: str = ""
    """The delivery itself, beside the reasons; "" where it lies on at its source."""


def put(
    place: Path,
    name: str,
    faults: Sequence[Fault],
    *,
    source: str,
    time: float,
    frame: pd.DataFrame | None = None,
    original: Path | None = None,
) -> Quarantined:
    """Keep a refused delivery whole, or not at all; the same one again keeps its id.

    `frame` holds the rows that the faults count; `original` is moved here.
    """
    bad = sorted({row for fault in faults for row in fault.rows})
    told = msgspec.json.encode([name, list(faults)])
    id = f"q-{hashlib.sha256(told).hexdigest()[:8]}"
    if (place / id / REASONS).is_file():  # released in vain: it still comes from where it came
        source = _read(place / id / REASONS).source
    partial = place / f".{id}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    kept = [Fault(f.column, f.reason, f.rows[:SHOWN]) for f in faults]
    file = original.name if original is not None else ""
    found = Quarantined(id, name, source, time, 0 if frame is None else len(frame), len(bad), tuple(kept), file)
    (partial / REASONS).write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if frame is not None and bad:
        _with_reasons(frame, faults, bad[:SHOWN]).to_csv(partial / ROWS, index=False)
    if original is not None:
        shutil.move(original, partial / file)
    shutil.rmtree(place / id, ignore_errors=True)
    partial.rename(place / id)
    return found


def listed(place: Path) -> list[Quarantined]:
    """Return all that is kept, oldest first."""
    found = [_read(path) for path in place.glob(f"q-*/{REASONS}")] if place.is_dir() else []
    return sorted(found, key=lambda one: (one.time, one.id))


def get(place: Path, id: str) -> tuple[Quarantined, Path]:
    """Return one delivery and its folder; raises `NotFoundError`."""
    path = place / id / REASONS
    if "/" in id or not path.is_file():
        raise NotFoundError("quarantined delivery", id, [one.id for one in listed(place)])
    return _read(path), path.parent


def drop(place: Path, id: str) -> None:
    """Remove one delivery for good."""
    shutil.rmtree(get(place, id)[1])


def _read(path: Path) -> Quarantined:
    return msgspec.json.decode(path.read_bytes(), type=Quarantined)


def _with_reasons(frame: pd.DataFrame, faults: Sequence[Fault], bad: list[int]) -> pd.DataFrame:
    """Return the bad rows, each with its number and all that is wrong with it."""
    reasons: dict[int, list[str]] = {row: [] for row in bad}
    for fault in faults:
        for row in fault.rows:
            if row in reasons:
                reasons[row].append(_alone(fault.reason))
    told: dict[str, Any] = {"row": row_numbers(frame)[bad], "reasons": ["; ".join(reasons[row]) for row in bad]}
    return pd.concat([pd.DataFrame(told), frame.iloc[bad].reset_index(drop=True)], axis=1)


def _alone(reason: str) -> str:
    """Return a reason without the numbers of all the rows it is about."""
    return reason.partition(" in row")[0]
