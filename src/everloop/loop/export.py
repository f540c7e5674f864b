"""The journal as Parquet, a file a segment and kind of record, for DuckDB, pandas and Spark."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from everloop.bundles import load, trusted
from everloop.errors import BundleError, JournalError
from everloop.journal import Position, Record
from everloop.journal.chain import lines
from everloop.journal.records import decode
from everloop.journal.seals import alone
from everloop.journal.segments import path_of, segments, whole
from everloop.loop.exported import column_name, plain, put, remember
from everloop.loop.workspace import Workspace
from everloop.registry import list_versions
from everloop.types import Column, Explanation, Failure, Feedback, Prediction

__all__ = ["Exported", "export"]

CHUNK = 20_000
_TYPES = {"float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_(), "string": pa.string()}
"""By dtype; a file is text, whatever array it becomes."""
_TIME = pa.timestamp("us", tz="UTC")

_ROW = {"id": pa.string(), "row": pa.int64(), "time": _TIME}
_ROUTED = {
    "model": pa.string(),
    "version": pa.string(),
    "variant": pa.string(),
    "propensity": pa.float64(),
    "why": pa.string(),
    "key": pa.string(),
    "generation": pa.int64(),
    "latency_us": pa.int64(),
}
"""What prediction and failure have in common."""
_PREDICTION = (
    _ROW
    | _ROUTED
    | {
        "flags": pa.string(),
        "level": pa.list_(pa.float64()),
        "raw": pa.string(),
        "other": pa.string(),
    }
)
TABLES = {
    "predictions": _PREDICTION,
    "feedback": _ROW | {"value": pa.float64(), "text": pa.string()},
    "explanations": {"id": pa.string(), "time": _TIME, "version": pa.string(), "rows": pa.string()},
    "failures": {"id": pa.string(), "time": _TIME} | _ROUTED | {"status": pa.int64()},
}
Columns = Mapping[tuple[str, str], tuple[str, pa.DataType]]
"""By input or output and its name: the name in the table, and the type."""


class Exported(msgspec.Struct, frozen=True):
    """What an export wrote: files made now, files that were there already, rows by table."""

    folder: str
    written: int
    kept: int
    rows: dict[str, int]


def export(workspace: Workspace, out: Path, tell: Callable[[int, int], None] | None = None) -> Exported:
    """Write one Parquet file a segment and table into `out`; what is there already and still right is kept.

    `predictions` has one row a row of a request: id, row, time, how it was routed, and its columns as input_NAME and
    output_NAME. `feedback` has id, row, time and the value as a number and as text; `explanations` the JSON of each;
    `failures` the requests that a version failed to answer. An input or output that no version's manifest names is in
    `other`, as JSON. What was erased is in none of them, and an erasure reaches all folders that were exported to.
    """
    out = out.resolve()
    columns = _columns(workspace)
    remember(workspace, out)
    rows, written, kept = dict.fromkeys(TABLES, 0), 0, 0
    known = segments(workspace.journal)
    for done, segment in enumerate(known, 1):
        files = {table: out / table / f"{segment:08d}.parquet" for table in TABLES}
        mark = (
            f"{whole(path_of(workspace.journal, segment))} {sorted((n, str(t)) for n, t in columns.values())}".encode()
        )
        if all(_marked(file) == mark for file in files.values()):
            kept += len(files)
        else:
            with alone(workspace.journal):  # no erasure in between: it looks at the tables only afterwards
                _write(workspace.journal, segment, columns, files, mark)
            written += len(files)
        for table, file in files.items():
            rows[table] += pq.read_metadata(file).num_rows
        if tell:
            tell(done, len(known))
    return Exported(str(out), written, kept, rows)


def _columns(workspace: Workspace) -> Columns:
    """Return the columns of all versions; where two differ in the type of one, numbers are floats, all else is text."""
    with workspace.store.read() as connection:
        bundles = [row["bundle"] for row in list_versions(connection, workspace.name)]
    found: dict[tuple[str, str], tuple[str, pa.DataType]] = {}
    for bundle in bundles:
        try:
            manifest = load(workspace.path(bundle), trusted(workspace.keys)).manifest
        except BundleError:  # removed since: what only it knows goes to `other`
            continue
        for side, columns in (("input", manifest.inputs), ("output", manifest.outputs)):
            for column in columns:
                key, name = (side, column.name), column_name(side, column.name)
                found[key] = (name, _common(found[key][1] if key in found else None, _type(column)))
    return found


def _type(column: Column) -> pa.DataType:
    if column.prepare is not None:
        return pa.string()
    type = _TYPES[column.dtype]
    for _ in column.shape:
        type = pa.list_(type)
    return type


def _common(one: pa.DataType | None, other: pa.DataType) -> pa.DataType:
    if one is None or one == other:
        return other
    return pa.float64() if {one, other} <= {pa.float64(), pa.int64()} else pa.string()


def _write(journal: Path, segment: int, columns: Columns, files: Mapping[str, Path], mark: bytes) -> None:
    """Write the tables of a segment, each file whole or not at all."""
    schemas = {name: pa.schema(fields, metadata={b"everloop": mark}) for name, fields in TABLES.items()}
    for name, type in columns.values():
        schemas["predictions"] = schemas["predictions"].append(pa.field(name, type))
    partial = {name: file.with_suffix(".partial") for name, file in files.items()}
    try:
        with contextlib.ExitStack() as stack:
            writers = {}
            for name, file in partial.items():
                file.parent.mkdir(parents=True, exist_ok=True)
                writers[name] = stack.enter_context(pq.ParquetWriter(file, schemas[name]))
            for chunk in _chunks(journal, segment, columns):
                for name, rows in chunk.items():
                    writers[name].write_table(pa.Table.from_pylist(rows, schema=schemas[name]))
        for name, file in partial.items():
            put(file, files[name])
    except OSError as error:
        place = next(iter(files.values())).parents[1]
        reason = error.strerror or error
        raise JournalError(f"the tables cannot be written into {place} ({reason}): name another folder") from error
    finally:
        for file in partial.values():
            with contextlib.suppress(OSError):
                file.unlink()


def _chunks(journal: Path, segment: int, columns: Columns) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Yield rows by table, some thousand records at a time."""
    chunk: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for place, line in lines(journal, Position(segment, 0), Position(segment, whole(path_of(journal, segment)))):
        record = decode(line, f"{path_of(journal, segment)} at byte {place.offset}")
        if record.erased:
            continue
        if record.kind == "prediction":
            chunk["predictions"] += _predicted(record, columns)
        elif record.kind == "feedback":
            chunk["feedback"].append(_labelled(record))
        elif record.kind == "explanation":
            told = record.read(Explanation)
            row = {"id": record.id, "time": _micros(record.time), "version": told.version, "rows": _json(told.rows)}
            chunk["explanations"].append(row)
        elif record.kind == "failure":
            failed = record.read(Failure)
            row = {"id": record.id, "time": _micros(record.time), "status": failed.status}
            chunk["failures"].append(row | _routed(failed))
        if sum(map(len, chunk.values())) >= CHUNK:
            yield chunk
            chunk = {name: [] for name in TABLES}
    yield chunk


def _predicted(record: Record, columns: Columns) -> Iterator[dict[str, Any]]:
    told = record.read(Prediction)
    sides = {"input": told.inputs, "output": told.outputs}
    other = {
        side: unknown for side, values in sides.items()
        if (unknown := {name: given for name, given in values.items() if (side, name) not in columns})
    }  # fmt: skip
    known = [
        (columns[side, n], given)
        for side, values in sides.items()
        for n, given in values.items()
        if (side, n) in columns
    ]
    for row in range(len(next(iter(told.inputs.values()), []))):
        yield {
            "id": record.id,
            "row": row,
            "time": _micros(record.time),
            **_routed(told),
            "flags": _json(told.flags) if told.flags else None,
            "level": list(told.level) or None,
            "raw": _json({n: v[row] for n, v in told.raw.items()}) if told.raw else None,
            "other": _json({s: {n: v[row] for n, v in values.items()} for s, values in other.items()})
            if other
            else None,
            **{name: _as(given[row], type) for (name, type), given in known},
        }


def _routed(told: Prediction | Failure) -> dict[str, Any]:
    return {name: getattr(told, name) for name in _ROUTED} | {"key": told.key or None}


def _as(value: Any, type: pa.DataType) -> Any:
    """Return a value as its column takes it."""
    if value is None or pa.types.is_list(type):
        return value
    return plain(value) if pa.types.is_string(type) else _PYTHON[type](value)


_PYTHON = {pa.float64(): float, pa.int64(): int, pa.bool_(): bool}


def _labelled(record: Record) -> dict[str, Any]:
    told = record.read(Feedback)
    number = None if isinstance(told.value, str) else float(told.value)
    row = {"id": told.prediction, "row": told.row, "time": _micros(told.time)}
    return row | {"value": number, "text": plain(told.value)}


def _marked(file: Path) -> bytes | None:
    """Return of what journal and columns a table was made."""
    try:
        return (pq.read_schema(file).metadata or {}).get(b"everloop")
    except (OSError, pa.ArrowInvalid):
        return None


def _micros(time: float) -> int:
    return round(time * 1e6)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
