"""Which served rows a person should label next: those that the champion was unsure of, that lie far out, that drift."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data import Schema
from everloop.errors import UsageError
from everloop.journal import Position, Reader, Record
from everloop.journal.segments import segments
from everloop.labelling import Chosen, Known, choose, embed, uncertainty
from everloop.loop.drift import latest, rows_of
from everloop.loop.labels import files as label_files
from everloop.loop.labels.models import committee
from everloop.loop.labels.proposing import AUTO, ENOUGH, MOST, Proposal, marked
from everloop.loop.schemas import served
from everloop.loop.training_sets import table_of
from everloop.loop.workspace import Workspace
from everloop.registry import get
from everloop.types import Feedback, Prediction

__all__ = ["WATCHED", "propose_served"]

WATCHED = "watched"
"""What `auto` means for served rows: uncertain, outlying and drifting ones first."""
_FAR = {
    "outlier": "lies further out than what training saw",
    "adversarial": "gets another answer when its numbers are rounded",
    "schema": "lies outside of what training saw",
}
Floats = NDArray[np.float64]


class _Row(NamedTuple):
    """One served row without a label: whose it is, what was asked, what was answered, what is odd about it."""

    prediction: str
    row: int
    inputs: dict[str, Any]
    answer: Any
    odd: tuple[str, ...]


def propose_served(workspace: Workspace, count: int, strategy: str = AUTO, seed: int = 0) -> Proposal:
    """Return rows of the journal with `prediction_id` and `row`, as `propose` does those of a pool.

    The newest 20,000 that the version in production answered are looked at. Raises
    `UsageError` where there are none without a label.
    """
    found = served(workspace)
    if found is None:
        raise UsageError("nothing was served yet: choose from a file of rows instead")
    rows = _unlabelled(workspace, found.schema, found.version)
    if not rows:
        raise UsageError(f"the journal holds no prediction of {found.version} without a label")
    inputs = pd.DataFrame([row.inputs for row in rows], columns=found.schema.names)
    inputs = inputs.astype({c.name: "float64" for c in found.schema.inputs if c.dtype == "float64"})
    said = np.asarray([row.answer for row in rows], np.float64)
    if strategy == AUTO:
        strategy = WATCHED
    if strategy == WATCHED:
        known, chosen = Known(np.zeros((len(rows), 1)), 0, [said]), _watched(rows, said, count, seed)
    else:
        known = _known(workspace, found.schema, found.version, inputs, said, strategy, seed)
        chosen = choose(strategy, known, count, seed)
    ids = {label_files.PREDICTION: [row.prediction for row in rows], "row": [row.row for row in rows]}
    table = pd.DataFrame(ids).join(inputs.drop(columns=[*ids], errors="ignore"))
    return Proposal(
        marked(table, chosen, found.schema, known, found.schema.target.name), strategy, len(rows), len(rows)
    )


def _watched(rows: list[_Row], said: Floats, count: int, seed: int) -> list[Chosen]:
    """Return the oddest rows first: how uncertain from 0 to 1, and one for each other kind of oddness.

    Among equals chance decides, so that a person sees more than the rows of one moment.
    """
    unsure = uncertainty(said) if said.ndim == 2 else np.zeros(len(rows))
    score = unsure + np.array([float(len(row.odd)) for row in rows])
    order = np.lexsort((np.random.default_rng(seed).random(len(rows)), -score))
    return [Chosen(int(place), _reason(rows[place], said[place])) for place in order[:count]]


def _reason(row: _Row, said: Any) -> str:
    told = [*row.odd]
    if np.ndim(said):
        two = np.sort(said)[-2:][::-1]
        told.append(f"the two likeliest classes have {two[0]:.2f} and {two[1]:.2f}")
    return "; ".join(told) or "one of the usual ones, by chance"


def _unlabelled(workspace: Workspace, schema: Schema, version: str) -> list[_Row]:
    """Return the newest rows that a version answered, and nobody labelled, oldest first."""
    signals = [one for one in latest(workspace) if one["firing"] and _of_a_column(one["evidence"], version)]
    output = "prediction" if schema.task == "regression" else "probability"
    found: list[dict[tuple[str, int], _Row]] = []
    labelled = set[tuple[str, int]]()
    for segment in reversed(segments(workspace.journal)):  # labels come behind what they belong to
        rows: dict[tuple[str, int], _Row] = {}
        for record in _records(workspace, segment):
            if record.kind == "feedback":
                known = record.read(Feedback)
                labelled.add((known.prediction, known.row))
            elif record.kind == "prediction":
                rows |= {(row.prediction, row.row): row for row in _rows_of(record, version, output, signals)}
        found.append({key: row for key, row in rows.items() if key not in labelled})
        if sum(map(len, found)) >= MOST:
            break
    return [row for rows in reversed(found) for row in rows.values()][-MOST:]


def _records(workspace: Workspace, segment: int) -> Iterator[Record]:
    with contextlib.closing(Reader(workspace.journal)) as reader:
        reader.seek(Position(segment, 0))
        while (records := reader.batch()) and reader.position.segment == segment:
            yield from records


def _rows_of(record: Record, version: str, output: str, signals: list[dict[str, Any]]) -> list[_Row]:
    prediction = record.read(Prediction)
    if prediction.version != version or output not in prediction.outputs:
        return []
    answers = prediction.outputs[output]
    odd: list[list[str]] = [[] for _ in answers]
    for signal in signals:
        if record.time >= signal["start"]:
            _mark(odd, rows_of(signal, prediction), _moved(signal["evidence"]["column"]))
    for guard, told in _FAR.items():
        marks = prediction.flags.get(guard, {})
        rows = marks.get("rows", []) if "rows" in marks else [row for found in marks.values() for row in found]
        _mark(odd, rows, told)
    return [
        _Row(record.id, row, {name: values[row] for name, values in prediction.inputs.items()}, answer, tuple(odd[row]))
        for row, answer in enumerate(answers)
    ]


def _of_a_column(evidence: dict[str, Any], version: str) -> bool:
    return evidence.get("version") == version and "column" in evidence


def _mark(odd: list[list[str]], rows: list[int], told: str) -> None:
    for row in rows:
        if told not in odd[row]:
            odd[row].append(told)


def _moved(column: str) -> str:
    return f"its {column!r} is of what came more often than before"


def _known(
    workspace: Workspace, schema: Schema, version: str, inputs: pd.DataFrame, said: Floats, strategy: str, seed: int
) -> Known:
    """Return what a strategy goes by: beside what was served, what the version was trained on."""
    with workspace.store.read() as connection:
        data = get(connection, workspace.name, version)["data_version"]
    labelled = table_of(workspace, data)
    if len(labelled) > ENOUGH:
        labelled = labelled.sample(ENOUGH, random_state=seed).sort_index()
    told = [said, *committee(workspace, schema, labelled, inputs)] if strategy == "committee" else [said]
    everything = pd.concat([labelled[schema.names], inputs[schema.names]], ignore_index=True)
    return Known(embed(everything, schema.inputs, seed), len(labelled), told)
