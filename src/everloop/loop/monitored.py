"""What the monitor watches: the reference of a bundle, and the journal's records as columns of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.bundles import trusted
from everloop.evaluation import main_metric, score
from everloop.inference import Model, arrays_of, judged_rows
from everloop.inference.guards import score_of
from everloop.journal import Record
from everloop.loop.hidden import HiddenLayer
from everloop.loop.watch import Scorer
from everloop.loop.workspace import Workspace
from everloop.monitoring import HIDDEN, Cut, RealisedWindows, Reference, Window
from everloop.settings import Monitoring, seconds
from everloop.types import Column, Explanation

__all__ = ["Batches", "cut_of", "decoder_of", "reference_of"]

Floats = NDArray[np.float64]
PART = 200
GAPS = {"nan", "None", "<NA>"}


class _Answered(msgspec.Struct, gc=False):
    """What the monitor reads of a prediction; its inputs are a struct of the model's columns, in their order."""

    version: str
    inputs: Any
    outputs: Any
    flags: dict[str, Any] = {}


def decoder_of(columns: Sequence[Column], output: str) -> Callable[[bytes], list[Any]]:
    """Return what decodes lines of predictions of a model: only what is looked at, and numbers as such."""
    inputs = msgspec.defstruct(
        "Inputs",
        [(f"c{i}", list[float | None] if _number(c) else list[Any]) for i, c in enumerate(columns)],
        rename={f"c{i}": c.name for i, c in enumerate(columns)},
        gc=False,
    )
    outputs = msgspec.defstruct("Outputs", [("values", list[Any])], rename={"values": output}, gc=False)
    kept = [("inputs", inputs), ("outputs", outputs)]
    answered = msgspec.defstruct("Answered", kept, bases=(_Answered,), gc=False)
    decode: Callable[[bytes], list[Any]] = msgspec.json.Decoder(answered).decode_lines
    return decode


def cut_of(settings: Monitoring) -> Cut:
    """Return how a project's traffic is cut, and how many false alarms it allows."""
    window = settings.window or settings.block
    count = int(window) if window.isdecimal() else 0
    return Cut(settings.false_alarms, 0.0 if count else seconds(window), count, seconds(settings.stale))


def reference_of(
    workspace: Workspace, model: Model, scorer: Scorer, layer: HiddenLayer | None = None
) -> tuple[Reference, str, Callable[[Floats, Floats], dict[str, float]]]:
    """Return the rows that a model was judged on, the main metric of its task, and what computes all of them."""
    task, columns = scorer.schema.task, model.manifest.inputs
    rows = judged_rows(model.bundle)
    values = {c.name: _values(c, rows.inputs[c.name]) for c in columns}
    known = [scorer.truth(value) for value in rows.target.tolist()]
    truth = np.array([np.nan if value is None else value for value in known])
    table = rows.answers.reshape(len(rows.answers), -1)

    def metric(truth: Floats, answers: Floats) -> dict[str, float]:
        return score(task, truth, answers)

    losses, which = scorer.losses(truth.tolist(), table.tolist()), main_metric(task)
    usual = metric(truth, table if table.shape[1] > 1 else table[:, 0])[which]
    flags = _flags(workspace, model, rows.inputs)
    hidden = layer.values(values, len(rows.times)) if layer else None
    return Reference(task, columns, rows.times, values, table, losses, flags, usual, hidden), which, metric


class Batches:
    """Turns records into windows' rows, by column."""

    def __init__(
        self, columns: Sequence[Column], champion: str, scorer: Scorer, layer: HiddenLayer | None = None
    ) -> None:
        self._columns, self._champion, self._scorer, self._layer = columns, champion, scorer, layer
        self._single = scorer.schema.task == "regression"
        self._numbers = all(_number(c) for c in columns)
        self._decode = decoder_of(columns, "prediction" if self._single else "probability")

    def of(self, predictions: Sequence[Record], realised: RealisedWindows) -> tuple[Window, Floats]:
        """Return the rows of predictions and their times; the champion's answers are to wait for their labels.

        Some are decoded at a time: what they are as objects then stays in the processor's cache.
        """
        parts = [self._part(predictions[i : i + PART], realised) for i in range(0, len(predictions), PART)]
        rows, moments = sum(part.rows for part in parts), [r.time for r in predictions]
        flags: dict[str, NDArray[np.bool_]] = {}
        begin = 0
        for part in parts:
            for at, found in part.flags:
                _flag(flags, found, begin + at, rows)
            begin += part.rows
        columns = {c.name: _joined([p.columns[i] for p in parts]) for i, c in enumerate(self._columns)} if rows else {}
        if rows and self._layer:
            columns[HIDDEN] = self._layer.values(columns, rows)
        batch = Window(
            start=min(moments, default=0.0),
            end=max(moments, default=0.0),
            rows=rows,
            columns=columns,
            answers=np.concatenate([part.answers for part in parts]) if rows else None,
            flags=flags,
            newest=max(moments, default=0.0),
        )
        counts = [count for part in parts for count in part.counts]
        return batch, np.repeat(np.asarray(moments, np.float64), counts)

    def _part(self, predictions: Sequence[Record], realised: RealisedWindows) -> _Part:
        decoded = self._decode(b"\n".join([r.payload for r in predictions]))
        counts = [len(p.outputs.values) for p in decoded]
        answers: list[Any] = []
        flags: list[tuple[int, dict[str, Any]]] = []
        gap = np.nan if self._single else [np.nan] * len(self._scorer.schema.classes)
        begin, waiting = 0, list[tuple[str, float, list[Any]]]()
        for record, answered, count in zip(predictions, decoded, counts, strict=True):
            if answered.version == self._champion:
                own = answered.outputs.values
                waiting.append((record.id, record.time, own))
                answers += own
            else:
                answers += [gap] * count
            if answered.flags:
                flags.append((begin, answered.flags))
            begin += count
        realised.predicted(waiting)
        columns = self._values([p.inputs for p in decoded], single=begin == len(decoded))
        return _Part(begin, counts, columns, np.asarray(answers, np.float64).reshape(begin, -1), flags)

    def _values(self, inputs: list[Any], single: bool) -> list[Any]:
        """Return the values by column; those of single rows are made one table at once, where all are numbers."""
        if single and self._numbers:
            flat = list(chain.from_iterable(chain.from_iterable(map(msgspec.structs.astuple, inputs))))
            if len(flat) == len(inputs) * len(self._columns):
                return list(np.array(flat, np.float64).reshape(len(inputs), -1).T)
        return [_column(i, c, inputs) for i, c in enumerate(self._columns)]

    def labelled(self, window: Window, truth: list[float], answers: list[Any]) -> Window:
        """Return a window of labelled rows."""
        found, known = np.asarray(answers, np.float64).reshape(len(truth), -1), np.asarray(truth, np.float64)
        losses = self._scorer.losses(truth, found.tolist())
        return msgspec.structs.replace(window, rows=len(truth), losses=losses, truth=known, answers=found)

    def explained(self, explanations: Sequence[Record]) -> tuple[Window, Floats]:
        """Return the contributions to the champion's answers that were explained, and when they were."""
        found: dict[str, list[float]] = {c.name: [] for c in self._columns}
        moments: list[float] = []
        for record in explanations:
            told = record.read(Explanation)
            for row in told.rows if told.version == self._champion else ():
                moments.append(record.time)
                for name, values in found.items():
                    values.append(float(row["values"].get(name, 0.0)))
        explained = {name: np.asarray(values) for name, values in found.items()}
        return Window(0.0, 0.0, rows=len(moments), explained=explained), np.asarray(moments, np.float64)


class _Part(NamedTuple):
    rows: int
    counts: list[int]
    columns: list[Any]
    answers: Floats
    flags: list[tuple[int, dict[str, Any]]]


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return list(chain.from_iterable(parts))


def _column(place: int, column: Column, inputs: Sequence[Any]) -> Any:
    values = list(chain.from_iterable(map(attrgetter(f"c{place}"), inputs)))
    if column.prepare is not None:
        return arrays_of(column, values).astype(np.float64)
    return np.array(values, np.float64) if _numeric(column) else values


def _number(column: Column) -> bool:
    return _numeric(column) and not column.shape


def _numeric(column: Column) -> bool:
    return column.kind in ("numeric", "image", "video") and column.dtype in ("float64", "int64", "uint8")


def _values(column: Column, array: NDArray[Any]) -> Any:
    if _numeric(column):
        return array.astype(np.float64)
    values = array.tolist()
    return [None if value in GAPS else value for value in values] if column.dtype == "string" else values


def _flag(flags: dict[str, NDArray[np.bool_]], found: dict[str, Any], begin: int, rows: int) -> None:
    """Mark the flagged rows of one prediction, by guard; what left a range or is unknown counts as the schema's."""
    for name, told in found.items():
        if name == "unknown_categories":
            continue
        guard = name if name in ("outlier", "adversarial") else "schema"
        marked = told["rows"] if guard != "schema" else set(chain.from_iterable(told.values()))
        mask = flags.setdefault(guard, np.zeros(rows, bool))
        mask[[begin + row for row in marked]] = True


def _flags(workspace: Workspace, model: Model, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Return what a bundle's guards say of the rows that it was judged on."""
    described = model.guards.described
    flags: dict[str, NDArray[np.bool_]] = {}
    rows = len(next(iter(feeds.values())))
    if described.graphs:
        path = model.bundle.path
        guarded = Model.load(path, trusted(workspace.keys), guarded=True, native=workspace.settings.serving.native)
        shaped = {name: values.reshape(rows, *(values.shape[1:] or (1,))) for name, values in feeds.items()}
        scores = guarded.predict_scored(shaped)
        for guard in described.graphs:
            if guard.policy == "flag":
                flags[guard.name] = ~(scores[score_of(guard.name)].reshape(-1) <= guard.threshold)
    if described.schema is not None and described.schema.ranges and described.schema.policy != "reject":
        outside = np.zeros(rows, bool)
        for name, (low, high) in described.schema.ranges.items():
            values = feeds[name].astype(np.float64)
            outside |= (values < low) | (values > high)
        flags["schema"] = outside
    return flags
