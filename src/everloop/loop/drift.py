"""What the monitor's signals say, newest first, and the predictions that lie behind one."""

from __future__ import annotations

import bisect
import contextlib
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from everloop import store
from everloop.errors import NotFoundError
from everloop.journal import Reader, Record
from everloop.loop.workspace import Workspace
from everloop.types import Prediction, dated, show_time

__all__ = ["as_read", "behind", "episodes", "latest", "one", "row_of", "rows_of", "signal_of"]

SHOWN, NEWEST = 20, 5000
_GUARDS = {"outliers": "outlier", "adversarial": "adversarial", "out_of_range": "schema"}


def latest(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the newest signal of each name that the monitor stored, firing ones first."""
    table = store.signal
    query = sa.select(table).order_by(table.c.id.desc()).limit(NEWEST)
    newest: dict[str, dict[str, Any]] = {}
    for row in workspace.store.rows(query):
        if row["evidence"].get("window"):
            newest.setdefault(row["name"], row)
    ranked = sorted(newest.values(), key=lambda r: (-r["firing"], -r["value"] / (r["threshold"] or 1), r["name"]))
    return [_shown(row) for row in ranked]


def episodes(workspace: Workspace, name: str | None = None) -> list[dict[str, Any]]:
    """Return when each signal, or one of them, fired and for how long, newest first; raises `NotFoundError`.

    `most` is the highest of its values meanwhile, against the threshold at that time; `until` is None while it fires.
    """
    table = store.signal
    query = sa.select(table.c.name, table.c.time, table.c.value, table.c.threshold, table.c.firing)
    if name is not None:
        query = query.where(table.c.name == one(workspace, name)["name"])
    found, open_ = list[dict[str, Any]](), dict[str, dict[str, Any]]()
    for row in workspace.store.rows(query.order_by(table.c.time, table.c.id)):
        under_way = open_.get(row["name"])
        if not row["firing"]:
            if under_way is not None:
                open_.pop(row["name"])["until"] = row["time"]
            continue
        if under_way is None:
            begun = {"signal": row["name"], "from": row["time"], "until": None, "windows": 0, "most": row["value"]}
            under_way = open_[row["name"]] = begun | {"threshold": row["threshold"]}
            found.append(under_way)
        under_way["windows"] += 1
        if row["value"] > under_way["most"]:
            under_way |= {"most": row["value"], "threshold": row["threshold"]}
    return found[::-1]


def one(workspace: Workspace, asked: str) -> dict[str, Any]:
    """Return a signal by its id, or the newest of a name; raises `NotFoundError` with the close match."""
    if found := signal_of(workspace, asked):
        return _shown(found)
    known = {row["name"]: row for row in latest(workspace)}
    if asked not in known:
        raise NotFoundError("signal", asked, known, "`everloop drift` lists them")
    return known[asked]


def signal_of(workspace: Workspace, id: str) -> dict[str, Any] | None:
    """Return the stored signal of an id such as s-12."""
    if not re.fullmatch(r"s-\d+", id):
        return None
    rows = workspace.store.rows(sa.select(store.signal).where(store.signal.c.id == int(id[2:])))
    return rows[0] | {"id": id, "firing": bool(rows[0]["firing"])} if rows else None


def row_of(signal: dict[str, Any]) -> dict[str, Any]:
    """Return a signal as a row of a table."""
    evidence = signal["evidence"]
    before, now = (evidence.get(name) for name in ("usual", "rate"))
    return {
        "id": signal["id"],
        "signal": signal["name"],
        "firing": "yes" if signal["firing"] else "",
        "evidence": float(signal["value"]),
        "threshold": float(signal["threshold"]),
        "distance": evidence.get("distance"),
        "rows": evidence.get("rows", evidence.get("labels")),
        "usual": before,
        "now": now if now is not None else evidence.get("loss", evidence.get("mean")),
        "window": show_time(signal["end"])[:16].replace("T", " ")
        if isinstance(signal["end"], float)
        else signal["end"],
    }


def as_read(signal: dict[str, Any]) -> dict[str, Any]:
    """Return a signal as a person reads it: without its id, times as dates."""
    return {name: value for name, value in dated(signal).items() if name != "id"}


def behind(workspace: Workspace, signal: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the newest predictions of a signal's window that show most of what moved, read from the journal.

    Of a column those in the bin whose share grew most, of a guard those that it flagged, of missing values those
    without one; else the newest of the window.
    """
    found: list[dict[str, Any]] = []
    for record in _of_window(workspace, signal):
        prediction = record.read(Prediction)
        for row in rows_of(signal, prediction):
            inputs = {name: values[row] for name, values in prediction.inputs.items()}
            column = signal["evidence"].get("column")
            shown = {column: inputs[column]} if column in inputs else inputs
            told = {"prediction": record.id, "row": row, "time": show_time(record.time), "version": prediction.version}
            found.append(told | shown)
    return found[-SHOWN:][::-1]


def _of_window(workspace: Workspace, signal: dict[str, Any]) -> Iterator[Record]:
    with contextlib.closing(Reader(workspace.journal)) as reader:
        while records := reader.batch():
            for record in records:
                if record.kind == "prediction" and signal["start"] <= record.time < signal["end"]:
                    yield record


def rows_of(signal: dict[str, Any], prediction: Prediction) -> list[int]:
    """Return the rows of a prediction that show what a signal says."""
    name, evidence = signal["name"], signal["evidence"]
    rows = range(len(next(iter(prediction.outputs.values()))))
    if guard := _GUARDS.get(name):
        told = prediction.flags.get(guard, {})
        marked = told.get("rows", []) if "rows" in told else [row for found in told.values() for row in found]
        return sorted(set(marked))
    values = prediction.inputs.get(evidence.get("column", ""), [])
    if name.startswith("missing:"):
        return [row for row in rows if values[row] in (None, "") or values[row] != values[row]]
    if (shown := evidence.get("histogram")) and len(values):
        grown = [now - before for before, now in zip(shown["reference"], shown["window"], strict=True)]
        most = grown.index(max(grown))
        return [row for row in rows if _bin(values[row], shown) == most]
    return list(rows)


def _bin(value: Any, shown: dict[str, Any]) -> int:
    if shown["numeric"]:
        return -1 if value is None else bisect.bisect_left(shown["bins"], value)
    text = "" if value is None else str(value)
    return shown["bins"].index(text) if text in shown["bins"] else len(shown["bins"]) - 1


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    id = row["id"] if isinstance(row["id"], str) else f"s-{row['id']}"
    return row | {"id": id, "firing": bool(row["firing"])}
