"""Repeats a journalled prediction: bit for bit where that is promised, else with the largest difference."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from everloop import registry
from everloop.errors import NotFoundError, UsageError
from everloop.journal.machine import Machine, server_before, this_machine
from everloop.journal.search import find
from everloop.loop.workspace import Workspace
from everloop.types import Prediction

__all__ = ["Repeated", "repeat"]


class Repeated(msgspec.Struct, frozen=True):
    """A prediction as it was and as it is now, before any level; `because` says why equality is not `promised`."""

    id: str
    version: str
    on: str
    rows: int
    promised: bool
    because: list[str]
    equal: bool
    largest_difference: float | None
    """Over all numbers; None where an answer is no number and differs."""
    outputs: dict[str, list[Any]]
    repeated: dict[str, list[Any]]

    @property
    def kept(self) -> bool:
        """Whether the promise, if there was one, was kept."""
        return self.equal or not self.promised


def repeat(workspace: Workspace, id: str, on: str | None = None, machine: Machine | None = None) -> Repeated:
    """Answer the inputs of a journalled prediction again, by the version that answered or another one.

    Equal bits are promised by the same version, ONNX Runtime build, CPU features and batch shape. Raises
    `NotFoundError`, and `UsageError` for a prediction that was erased.
    """
    record = next((r for r in find(workspace.journal, id.lower()) if r.kind == "prediction"), None)
    if record is None:
        raise NotFoundError("prediction", id, do="give its whole id, as the server answered it")
    if record.erased:
        raise UsageError(f"prediction {id} was erased: its inputs are gone")
    prediction = record.read(Prediction)
    version = on or prediction.version
    with workspace.store.read() as connection:
        bundle = registry.get(connection, workspace.name, version)["bundle"]
    model = workspace.model(bundle)
    found = _as_journalled(model.predict_lists(prediction.inputs))
    before = prediction.raw or prediction.outputs
    because = _reasons(prediction, version, server_before(workspace.journal, record.number), machine or this_machine())
    if model.native:
        because.append("a native model, the builds of whose libraries are not journalled")
    return Repeated(
        id=record.id,
        version=prediction.version,
        on=version,
        rows=_rows(prediction),
        promised=not because,
        because=because,
        equal=msgspec.json.encode(found) == msgspec.json.encode(before),
        largest_difference=_largest(before, found),
        outputs=before,
        repeated=found,
    )


def _reasons(prediction: Prediction, version: str, then: Machine | None, now: Machine) -> list[str]:
    """Return why equal bits are not promised, a phrase each."""
    reasons = [] if version == prediction.version else [f"version {version}, then {prediction.version}"]
    rows = _rows(prediction)
    if prediction.batch not in (0, rows):
        reasons.append(f"batch of {rows} rows, then {prediction.batch} of several requests")
    if then is None:
        return [*reasons, "the server did not journal its ONNX Runtime and CPU"]
    return reasons + now.differences(then)


def _rows(prediction: Prediction) -> int:
    return len(next(iter(prediction.inputs.values()), []))


def _as_journalled(outputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return answers as the journal gives them back: what is no number there is null."""
    found: dict[str, list[Any]] = msgspec.json.decode(msgspec.json.encode(outputs))
    return found


def _largest(before: dict[str, list[Any]], now: dict[str, list[Any]]) -> float | None:
    """Return the largest absolute difference of two answers to the same rows."""
    largest = 0.0
    for name in before.keys() | now.keys():
        one, other = before.get(name), now.get(name)
        if one == other:
            continue
        try:
            difference = np.abs(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64))
        except (TypeError, ValueError):
            return None
        if not difference.size or not np.isfinite(difference).all():
            return None
        largest = max(largest, float(difference.max()))
    return largest
