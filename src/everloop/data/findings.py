"""What was found wrong with a table, over all of its parts: each fault once, and the bad rows with their reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data.validation import Fault, row_numbers
from everloop.errors import DataError

__all__ = ["SHOWN", "Findings"]

SHOWN, ENOUGH = 10_000, 1_000_000
"""Bad rows that are kept with their reasons; those after which a table in parts is not looked at any further."""
_ROWS = re.compile(r" in rows? (\d+(?:, \d+)*)( \.\.\.)?(?: \((\d+) in all\))?")


class Findings:
    """Collects the faults of one table, part by part; positions are then those in the whole."""

    def __init__(self) -> None:
        self.rows = 0
        self._faults: dict[tuple[str, str], _Merged] = {}
        self._bad = list[NDArray[np.int64]]()
        self._shown = list[pd.DataFrame]()

    @classmethod
    def of(cls, faults: Sequence[Fault], frame: pd.DataFrame | None = None) -> Findings:
        """Return those of a table in one part; without `frame` nobody could read its rows."""
        found = cls()
        found.take(faults, frame)
        return found

    def take(self, faults: Sequence[Fault], frame: pd.DataFrame | None) -> None:
        """Add the faults of the next part, whose rows `frame` holds; without it they count the rows of the whole."""
        before = self.rows if frame is not None else 0
        for fault in faults:
            key = (fault.column, _alone(fault.reason))
            self._faults.setdefault(key, _Merged(fault)).add(fault, before)
        bad = np.array(sorted({row for fault in faults for row in fault.rows}), dtype=np.int64)
        if frame is not None:
            room = SHOWN - sum(map(len, self._shown))
            if len(bad) and room > 0:
                self._shown.append(_with_reasons(frame, faults, bad[:room].tolist()))
        self._bad.append(bad + before)
        self.rows += len(frame) if frame is not None else 0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Each fault with all of its rows."""
        return tuple(one.fault for one in self._faults.values())

    @property
    def bad(self) -> NDArray[np.int64]:
        """The positions of the bad rows, in order."""
        return np.concatenate(self._bad) if self._bad else np.zeros(0, np.int64)

    @property
    def enough(self) -> bool:
        """Whether so many rows are bad that nobody wants to know of more."""
        return sum(map(len, self._bad)) >= ENOUGH

    @property
    def shown(self) -> pd.DataFrame | None:
        """The first bad rows, each with its number and all that is wrong with it."""
        return pd.concat(self._shown, ignore_index=True) if self._shown else None

    @property
    def told(self) -> str:
        """The first fault in a sentence, and how many more there are."""
        faults = self.faults
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        stopped = f"; only its first {self.rows:,} rows were looked at" if self.enough else ""
        return f"{faults[0].reason}{more}{stopped}"

    def error(self, name: str, more: str = "", kept: str = "") -> DataError:
        """Return the error that says so of what has this name."""
        told = self.told if name in self.told else f"{name}: {self.told}"
        return DataError(f"{told}{more}", self.bad.tolist(), kept)


class _Merged:
    """One fault as it came from one part after another."""

    def __init__(self, first: Fault) -> None:
        self._first, self._rows, self._numbers = first, list[int](), list[str]()
        self._count = 0

    def add(self, fault: Fault, before: int) -> None:
        self._rows += [row + before for row in fault.rows]
        if told := _ROWS.search(fault.reason):
            numbers = told[1].split(", ")
            self._numbers += numbers
            self._count += int(told[3] or len(numbers))

    @property
    def fault(self) -> Fault:
        told = _ROWS.search(self._first.reason)
        if told is None or self._count == int(told[3] or len(told[1].split(", "))):
            return msgspec.structs.replace(self._first, rows=tuple(self._rows))
        more = " ..." if self._count > 5 else ""
        rows = f" in rows {', '.join(self._numbers[:5])}{more} ({self._count} in all)"
        reason = _ROWS.sub(rows, self._first.reason, count=1)
        return msgspec.structs.replace(self._first, reason=reason, rows=tuple(self._rows))


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
