"""Rows before they are trained on: refused where they break a rule, and looked through for what would deceive."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data import Schema, quarantine
from everloop.data.comparing import Shift, compare
from everloop.data.leakage import Leak, leaks
from everloop.data.validation import Validation, validate
from everloop.errors import DataError
from everloop.loop.parts import Newest, Parts, look_through
from everloop.settings import Checks

__all__ = ["Inspection", "answered", "filed", "inspection"]

ENOUGH = 100
"""Served rows from which on they are compared with the files' rows."""


class Inspection(msgspec.Struct, frozen=True):
    """What was found in a training table: what may leak, how served rows differ, how many rows were left out."""

    leaks: list[Leak]
    skew: list[Shift]
    rows: int
    served: int
    left_out: int
    older: int = 0
    """Rows that are older than the newest `[training] max_rows`."""

    @property
    def told(self) -> list[str]:
        """What a person should read, a sentence each."""
        shifted = [s for s in self.skew if s.shifted]
        skew = [
            f"column {s.column!r} is served otherwise than it was trained on: {s.before}, then {s.after} "
            f"({s.test} {s.distance:.2f}, p {s.p_value:.2g})"
            for s in shifted
        ]
        out = [f"{self.left_out} served rows break a rule of [data.checks] and are left out"] if self.left_out else []
        old = [f"{self.older:,} older rows are left out: [training] max_rows"] if self.older else []
        return [*(leak.told for leak in self.leaks), *skew, *out, *old]


def filed(table: Parts, schema: Schema, checks: Checks, name: str, place: str, until: float, max_rows: int) -> Newest:
    """Return the newest rows of a project's files as the schema has them, `max_rows` of them or (0) all.

    Raises `DataError` where a row breaks types or rules; its rows and reasons are in the quarantine then.
    """
    newest = Newest(schema.time, max_rows)
    found = look_through(table, Validation(schema, checks, of="files"), newest)
    if not found.faults:
        return newest
    told = ""
    if place:
        kept = quarantine.put(Path(place), "retraining", found, source=name, time=until)
        told = f"; all reasons: `everloop data quarantine show {kept.id}`"
    raise found.error(name, told)


def answered(served: pd.DataFrame, schema: Schema, checks: Checks) -> tuple[pd.DataFrame | None, int]:
    """Return the served rows that keep all rules, and how many do not; raises `DataError` where these are too many."""
    if not len(served):
        return None, 0
    report = validate(served, schema, checks, of="served")
    bad = report.bad
    if len(bad) > checks.tolerance * len(served):
        told = f"{len(bad)} of {len(served)} served rows break a rule, more than [data.checks] tolerance"
        raise DataError(f"{told}: {report.faults[0].reason}", bad)
    if report.table is None:
        return None, len(bad)
    return report.table.drop(index=[row for row in bad if row in report.table.index]), len(bad)


def inspection(
    rows: pd.DataFrame, schema: Schema, served: NDArray[np.bool_], left_out: int, checks: Checks, horizon: float
) -> Inspection:
    """Return what a training table holds that would deceive; raises `DataError` for a leak that the project refuses."""
    found = [] if checks.leakage == "off" else leaks(rows, schema, horizon)
    if found and checks.leakage == "refuse":
        raise DataError(f"[data.checks] leakage = 'refuse': {found[0].told}")
    skew = list[Shift]()
    if served.sum() >= ENOUGH and (~served).sum() >= ENOUGH:
        skew = compare(rows[~served], rows[served], [c.name for c in schema.inputs if c.prepare is None])
    return Inspection(found, skew, len(rows), int(served.sum()), left_out)
