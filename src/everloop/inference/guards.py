"""Guards in the request path: what a row is held against before and after it is answered.

A bundle with guards holds `guards.json`, one graph a guard, `guards/NAME.onnx`, and `guarded.onnx`: the model and all
of them in one, since a second call of ONNX Runtime costs more than the work of a guard on one row. Its further outputs,
`everloop_guard_NAME` (FP64, [rows, 1]), are the scores; a row whose score is above the threshold, or no number, is
flagged. The schema guard is numpy, no graph: its refusals name the column and the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.bundles import Bundle
from everloop.errors import BundleError, RequestError
from everloop.types import Column

__all__ = ["FILE", "GUARDED", "Described", "GraphGuard", "Guards", "RefusedError", "SchemaGuard", "file_of", "score_of"]

Arrays = dict[str, NDArray[Any]]
FILE, GUARDED = "guards.json", "guarded.onnx"
_SENTENCES = {
    "outlier": "lies further from all that training saw than usual rows do",
    "adversarial": "gets another answer when its numbers are rounded, as manipulated rows do",
}


class RefusedError(RequestError):
    """A request that a guard refuses; `guard` is its name."""

    def __init__(self, guard: str, message: str) -> None:
        self.guard = guard
        super().__init__(message)


class SchemaGuard(msgspec.Struct, frozen=True):
    """What training saw of each column of numbers: its range, and whether it was never missing."""

    policy: Literal["flag", "clip", "reject"]
    ranges: dict[str, tuple[float, float]]
    gapless: tuple[str, ...] = ()


class GraphGuard(msgspec.Struct, frozen=True):
    """A guard that is a graph: its threshold flags at most `rate` of the usual rows, by `rows` out-of-time scores."""

    name: str
    policy: Literal["flag", "reject"]
    threshold: float
    rate: float
    rows: int
    method: str
    source: str


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """`guards.json`."""

    format: int = 1
    schema: SchemaGuard | None = None
    graphs: tuple[GraphGuard, ...] = ()


def file_of(name: str) -> str:
    """Return where a guard's graph lies in the bundle."""
    return f"guards/{name}.onnx"


def score_of(name: str) -> str:
    """Return the output of the guarded graph that holds a guard's scores."""
    return f"everloop_guard_{name}"


class Guards:
    """The guards of one bundle; where there are none, nothing is found."""

    def __init__(self, described: Described | None = None, inputs: Sequence[Column] = ()) -> None:
        self.described = described = described or Described()
        self.names = (*(["schema"] if described.schema else []), *(g.name for g in described.graphs))
        self.outputs = tuple(score_of(g.name) for g in described.graphs)
        self.graph = GUARDED if described.graphs else "model.onnx"
        """The file of the bundle that answers, and gives the scores."""
        guarded = described.schema is not None and described.schema.ranges
        self._ranges = _Ranges(described.schema, inputs) if described.schema and guarded else None
        self._graphs = [(score_of(g.name), g) for g in described.graphs]

    @classmethod
    def load(cls, bundle: Bundle) -> Guards:
        """Return the guards of a verified bundle; raises `BundleError` where their description is wrong."""
        if FILE not in bundle.files:
            return cls()
        try:
            described = msgspec.json.decode(bundle.read(FILE), type=Described)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BundleError(f"{bundle.path / FILE} cannot be read: {error}") from error
        if described.format != 1:
            raise BundleError(f"{bundle.path / FILE} has format {described.format}, this Everloop reads 1")
        known = {c.name for c in bundle.manifest.inputs}
        if strange := sorted(set(described.schema.ranges) - known) if described.schema else []:
            raise BundleError(f"{bundle.path / FILE} guards {strange[0]!r}, no column of the model: build it again")
        return cls(described, bundle.manifest.inputs)

    def check(self, arrays: Arrays, unknown: Mapping[str, list[Any]] | None = None) -> tuple[Arrays, dict[str, Any]]:
        """Return the columns to be answered (another mapping where the schema guard clips) and what it flags.

        `unknown` holds, by column, the values that `unknown_categories` found. Flags are rows by column, under `schema`
        or, where the nearest usual value stands in, `clipped`. Raises `RefusedError`.
        """
        flags: dict[str, Any] = {}
        schema = self.described.schema
        if unknown and schema is not None and schema.policy == "reject":
            _refuse_unknown(arrays, unknown)
        if self._ranges is None:
            return arrays, flags
        return self._ranges.check(arrays, flags), flags

    def clip(self, arrays: Arrays) -> Arrays:
        """Return columns as `check` has them answered, flagging and refusing nothing (for rows answered before)."""
        if self._ranges is None or self._ranges.policy != "clip":
            return arrays
        return self._ranges.check(arrays, {})

    def take(self, found: dict[str, NDArray[Any]]) -> dict[str, Any]:
        """Take the scores out of the guarded graph's outputs and return, by guard, flagged `rows` and their `scores`.

        Raises `RefusedError` where the guard's policy is to reject.
        """
        flags: dict[str, Any] = {}
        for output, guard in self._graphs:
            scores = found.pop(output)
            if scores.size == 1 and scores.item() <= guard.threshold:
                continue
            scores = scores.reshape(-1)
            flagged = np.flatnonzero(~(scores <= guard.threshold))
            if len(flagged) and guard.policy == "reject":
                raise _refused(guard, int(flagged[0]), float(scores[flagged[0]]))
            if len(flagged):
                flags[guard.name] = {"rows": flagged.tolist(), "scores": scores[flagged].tolist()}
        return flags


class _Ranges:
    """The schema guard, as two rows of bounds."""

    def __init__(self, guard: SchemaGuard, inputs: Sequence[Column]) -> None:
        self.policy = guard.policy
        self._names = tuple(c.name for c in inputs if c.name in guard.ranges)
        bounds = np.array([guard.ranges[name] for name in self._names], dtype=np.float64)
        self._low, self._high = bounds[:, :1].copy(), bounds[:, 1:].copy()
        self._gaps = np.array([[name not in guard.gapless] for name in self._names])
        self._row = [(name, *guard.ranges[name]) for name in self._names]

    def check(self, arrays: Arrays, flags: dict[str, Any]) -> Arrays:
        """Add what lies outside to `flags`, or refuse it; returns the columns to be answered."""
        if self._usual_row(arrays):
            return arrays
        numbers = np.array([arrays[name] for name in self._names], np.float64).reshape(len(self._names), -1)
        inside = (numbers >= self._low) & (numbers <= self._high)
        if np.count_nonzero(inside) == inside.size:
            return arrays
        missing = np.isnan(numbers)
        wrong = ~inside & ~(missing & self._gaps)
        if not wrong.any():
            return arrays
        if self.policy == "reject":
            raise RefusedError("schema", self._sentence(numbers, wrong))
        clipped = wrong & ~missing if self.policy == "clip" else np.zeros_like(wrong)
        self._add(flags, "schema", wrong & ~clipped)
        if not clipped.any():
            return arrays
        self._add(flags, "clipped", clipped)
        within = np.clip(numbers, self._low, self._high)
        for place in np.flatnonzero(clipped.any(axis=1)):
            given = arrays[name := self._names[place]]
            arrays = {**arrays, name: within[place].astype(given.dtype).reshape(given.shape)}
        return arrays

    def _usual_row(self, arrays: Arrays) -> bool:
        """Return whether this is one row, and all within bounds: three times cheaper so than by arrays."""
        if arrays[self._names[0]].size != 1:
            return False
        return all(low <= arrays[name].item() <= high for name, low, high in self._row)

    def _add(self, flags: dict[str, Any], key: str, wrong: NDArray[np.bool_]) -> None:
        for place in np.flatnonzero(wrong.any(axis=1)).tolist():
            flags.setdefault(key, {})[self._names[place]] = np.flatnonzero(wrong[place]).tolist()

    def _sentence(self, numbers: NDArray[np.float64], wrong: NDArray[np.bool_]) -> str:
        row, place = (int(index) for index in np.argwhere(wrong.T)[0])
        name, value = self._names[place], float(numbers[place, row])
        if np.isnan(value):
            return f"column {name!r}, row {row} is missing, which training never saw: send its value"
        low, high = self._low[place, 0], self._high[place, 0]
        return f"column {name!r}, row {row}: {value:g} lies outside {low:g} to {high:g}, what training saw: correct it"


def _refused(guard: GraphGuard, row: int, score: float) -> RefusedError:
    told = _SENTENCES.get(guard.name, f"is refused by the guard {guard.name!r}")
    usual = f"score {score:.4g}, up to {guard.threshold:.4g} is usual"
    return RefusedError(guard.name, f"row {row} {told} ({usual}): check its values")


def _refuse_unknown(arrays: Arrays, unknown: Mapping[str, list[Any]]) -> None:
    name, values = next(iter(unknown.items()))
    row, shown = arrays[name].ravel().tolist().index(values[0]), repr(str(values[0])[:40])
    raise RefusedError("schema", f"column {name!r}, row {row}: {shown} is no category that training saw: correct it")
