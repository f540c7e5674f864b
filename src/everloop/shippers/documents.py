"""Journal records and changes of the store as documents for a search engine, with ids that a repetition repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from everloop.errors import JournalError
from everloop.journal import Record
from everloop.shippers.outbox import Entry
from everloop.types import Explanation, Feedback, Prediction, show_time

__all__ = ["Document", "document_of", "documents_of"]

ECS = "8.11"
LONGEST = 512
"""Bytes of an id that Elasticsearch takes."""


class Document(msgspec.Struct, frozen=True):
    """What stands under one id of one index."""

    index: str
    id: str
    body: bytes


def documents_of(record: Record, index: str, project: str) -> Iterator[Document]:
    """Give the documents of one record: one a row; none for a kind that is not known.

    Raises JournalError for a payload that is no such thing.
    """
    if record.kind == "prediction":
        found = record.read(Prediction)
        for row in range(_rows(found)):
            yield _document(
                record, index, project, "predictions", f"{record.id}/{row}", _prediction(record, found, row)
            )
    elif record.kind == "feedback":
        label = record.read(Feedback)
        told = {"prediction": label.prediction, "row": label.row, _value(label.value): label.value}
        key = f"{record.id}/{label.row}/{_digest(record)}"  # a label that is corrected is another document
        yield _document(record, index, project, "feedback", key, told)
    elif record.kind == "explanation":
        why = record.read(Explanation)
        for row, one in enumerate(why.rows):
            told = {"prediction": record.id, "row": row, "version": why.version, "explanation": one, "asked": why.asked}
            yield _document(record, index, project, "explanations", f"{record.id}/{row}/{_digest(record)}", told)


def document_of(entry: Entry, index: str, project: str) -> Document:
    """Return one change of the store as a document."""
    told = {"change": entry.kind, "number": entry.id, "payload": entry.payload}
    return _made(entry.time, index, project, "changes", f"{entry.kind}/{entry.id}", told)


def _document(record: Record, index: str, project: str, kind: str, key: str, told: dict[str, Any]) -> Document:
    return _made(record.time, index, project, kind, key, told | {"record": record.number})


def _made(time: float, index: str, project: str, kind: str, key: str, told: dict[str, Any]) -> Document:
    body = {
        "@timestamp": show_time(time),
        "ecs": {"version": ECS},
        "event": {"kind": "event", "dataset": f"everloop.{kind}"},
        "everloop": {"project": project, **told},
    }
    id = f"{project}/{kind}/{key}"
    if len(id.encode()) > LONGEST:
        id = hashlib.sha256(id.encode()).hexdigest()
    month = datetime.fromtimestamp(time, UTC).strftime("%Y.%m")
    return Document(f"{index}-{kind}-{month}", id, msgspec.json.encode(body))


def _rows(found: Prediction) -> int:
    columns = [*found.inputs.values(), *found.outputs.values()]
    if len({len(values) for values in columns}) > 1:
        raise JournalError("a prediction has columns of different lengths")
    return len(columns[0]) if columns else 0


def _prediction(record: Record, found: Prediction, row: int) -> dict[str, Any]:
    told = {
        "prediction": record.id,
        "row": row,
        "model": found.model,
        "version": found.version,
        "variant": found.variant,
        "propensity": found.propensity,
        "why": found.why,
        "generation": found.generation,
        "latency_us": found.latency_us,
        "inputs": {name: values[row] for name, values in found.inputs.items()},
        "outputs": {name: values[row] for name, values in found.outputs.items()},
        "flags": [name for name, flag in found.flags.items() if _concerns(name, flag, found, row)],
    }
    return told | ({"raw": {name: values[row] for name, values in found.raw.items()}} if found.raw else {})


def _concerns(name: str, flag: Any, found: Prediction, row: int) -> bool:
    """Tell whether a flag is of this row: it names values or rows by column, or rows; any other is of all rows."""
    if not isinstance(flag, dict):
        return True
    if name == "unknown_categories":
        return any(found.inputs[column][row] in values for column, values in flag.items() if column in found.inputs)
    if "rows" in flag:
        return row in flag["rows"]
    return any(row in rows for rows in flag.values())


def _value(value: object) -> str:
    """Return the field of a label: numbers and texts have one each, as a field has one type."""
    return "text" if isinstance(value, str) else "value"


def _digest(record: Record) -> str:
    return hashlib.sha256(bytes(record.payload)).hexdigest()[:16]
