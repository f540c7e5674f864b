"""The few rows of a large table that show its schema."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from everloop.data.schema import CATEGORIES

__all__ = ["Witnesses"]

CLASSES, TYPES = 10_000, 10
"""Values of the target that are told apart; types that a column may hold beside its values."""


class Witnesses:
    """Rows out of the parts of a table of which `infer` says what it would say of all of them.

    They hold the ends of each column of numbers, each type, a gap, each value of the target and of columns of few
    texts. Rows without a target are none: what they lack is told when rows are held against the schema.
    """

    def __init__(self, target: str, time: str, media: Collection[str] = ()) -> None:
        self._target, self._plain = target, {time, *media}
        self._kept, self._without = list[pd.DataFrame](), list[pd.DataFrame]()
        self._known: dict[Any, set[Any]] = {}
        self._ends: dict[Any, tuple[float, float]] = {}
        self.rows = 0

    def take(self, frame: pd.DataFrame) -> None:
        """Look at the next part."""
        self.rows += len(frame)
        judged = frame[frame[self._target].notna()] if self._target in frame.columns else frame
        if not len(judged):
            self._without = self._without or [frame[:1]]
            return
        places = {0} if not self._kept else set()
        for name in judged.columns:
            if name not in self._plain and list(judged.columns).count(name) == 1:
                places |= set(self._of(judged[name], name))
        self._kept.append(judged.iloc[sorted(places)])

    @property
    def table(self) -> pd.DataFrame:
        """The rows, in their order."""
        return pd.concat(self._kept or self._without)

    def _of(self, values: pd.Series[Any], name: Any) -> Iterator[int]:
        known, missing = self._known.setdefault(name, set()), values.isna().to_numpy()
        if missing.any() and None not in known:
            known.add(None)
            yield int(missing.argmax())
        there = np.flatnonzero(~missing)
        if not len(there):
            return
        plain = values.iloc[there]
        if values.dtype.kind in "iuf":
            yield from self._wider(plain, name, there)
            if name != self._target:
                return
        limit = CLASSES if name == self._target else CATEGORIES + TYPES
        if values.dtype == object:  # a value of each type first: what cannot be told apart is refused by its type
            types = plain.map(type)
            for type_ in set(types.unique()) - known:
                known.add(type_)
                yield int(there[(types == type_).to_numpy().argmax()])
            if not all(issubclass(t, str | int | float | bool | np.generic) for t in types.unique()):
                return
        for place in np.flatnonzero(~plain.duplicated().to_numpy()):
            if len(known) >= limit:
                return
            value = plain.iloc[place]
            if (told := (type(value), value)) not in known:
                known.add(told)
                yield int(there[place])

    def _wider(self, values: pd.Series[Any], name: Any, there: Any) -> Iterator[int]:
        numbers = values.to_numpy()
        low, high = self._ends.get(name, (np.inf, -np.inf))
        if name not in self._ends or numbers.min() < low:
            yield int(there[numbers.argmin()])
        if name not in self._ends or numbers.max() > high:
            yield int(there[numbers.argmax()])
        self._ends[name] = (min(low, numbers.min()), max(high, numbers.max()))
