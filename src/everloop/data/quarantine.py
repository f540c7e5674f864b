"""Deliveries that were refused: the file as it came, its bad rows with their reasons; kept until a person decides."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from everloop.data.findings import SHOWN, Findings
from everloop.data.validation import Fault
from everloop.errors import NotFoundError

__all__ = ["Quarantined", "drop", "get", "listed", "put"]

REASONS, ROWS = "reasons.json", "rows.csv"


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
    found: Findings,
    *,
    source: str,
    time: float,
    original: Path | None = None,
) -> Quarantined:
    """Keep a refused delivery whole, or not at all; the same one again keeps its id. `original` is moved here."""
    faults = found.faults
    told = msgspec.json.encode([name, list(faults)])
    id = f"q-{hashlib.sha256(told).hexdigest()[:8]}"
    partial = place / f".{id}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    kept = [Fault(f.column, f.reason, f.rows[:SHOWN]) for f in faults]
    file = original.name if original is not None else ""
    one = Quarantined(id, name, source, time, found.rows, len(found.bad), tuple(kept), file)
    (partial / REASONS).write_bytes(msgspec.json.format(msgspec.json.encode(one), indent=1))
    if found.shown is not None:
        found.shown.to_csv(partial / ROWS, index=False)
    if original is not None:
        shutil.move(original, partial / file)
    shutil.rmtree(place / id, ignore_errors=True)
    partial.rename(place / id)
    return one


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
