"""What a run records, read from the store, its artifacts and its bundle: the same whenever it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from everloop import store
from everloop.bundles import Bundle
from everloop.inference import judged_rows
from everloop.store import Connection, Store
from everloop.types import Json, Task

__all__ = ["DATA_RUN", "Curve", "DataUsed", "Judged", "Loader", "RunRecord", "read_run", "system_metrics"]

Loader = Callable[[Mapping[str, Any]], Any]
"""Returns the value of a row of the artifact table."""
DATA_RUN = "-data"
"""What the id of a retraining's own ingest run ends with."""


class Curve(msgspec.Struct, frozen=True):
    """Values of one name by step."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


class DataUsed(msgspec.Struct, frozen=True):
    """The data version that a run was trained on."""

    id: str
    sha256: str
    rows: int
    start: float
    end: float
    origin: str


class Judged(msgspec.Struct, frozen=True):
    """Out-of-time rows in the order of time: `truth` (a class by its index) and the answers to them."""

    task: Task
    target: str
    classes: tuple[str, ...]
    times: NDArray[np.float64]
    truth: NDArray[Any]
    answers: NDArray[np.float64]


class RunRecord(msgspec.Struct, frozen=True):
    """All that is shown of one run; times are seconds, `status` is running, finished or failed."""

    id: str
    model: str
    pipeline: str
    status: str
    started: float
    finished: float | None
    title: str
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    curves: tuple[Curve, ...] = ()
    tags: dict[str, str] = {}
    loss: str = "loss"
    scores: dict[str, dict[str, float]] = {}
    """What every recipe of the window choice lost, by its name."""
    chosen: str = ""
    data: DataUsed | None = None
    judged: Judged | None = None
    bundle: Bundle | None = None


def read_run(target: Store, model: str, run: str, load: Loader, bundle: Bundle | None) -> RunRecord | None:
    """Return what a run of `model` records so far; a retraining that has only read its data is one too.

    None where the store knows no such run. `bundle` is the run's own, where it has one.
    """
    with target.read() as connection:
        rows = {r["id"]: dict(r) for r in connection.execute(_runs(run)).mappings()}
        row = rows.get(run) or rows.get(run + DATA_RUN)
        if row is None:
            return None
        if run not in rows:  # its data is there, what it is for begins in a moment
            row["status"] = "failed" if row["status"] == "failed" else "running"
        made = _made(connection, row["id"])
        parts = {name: _resolved(connection, value, load) for name, value in row["parameters"].items()}
        data = _data(connection, row)
        used = _used(connection, row["id"])
        tags = _tags(connection, run, model, row, data)
    outputs = {name: load(artifact) for name, artifact in made.items() if name in _READ}
    record = RunRecord(
        run, model, row["pipeline"], row["status"], row["started"], row["finished"], _title(run, tags), tags=tags
    )
    if row["pipeline"] != "retrain":
        return record
    choice, curves = outputs.get("choice") or {}, outputs.get("curves") or {}
    return msgspec.structs.replace(
        record,
        params=_params(parts.get("ask") or {}, choice, curves),
        metrics=_metrics(outputs.get("metrics") or {}, choice) | used,
        curves=(*_curves(curves, outputs.get("baseline") or []), *_compared(choice)),
        tags=tags | _gate(outputs.get("verdict") or {}),
        loss=curves.get("loss", "loss"),
        scores=choice.get("scores", {}),
        chosen=choice.get("name", ""),
        data=data,
        judged=_judged(bundle, parts) if bundle else None,
        bundle=bundle,
    )


_READ = ("choice", "curves", "metrics", "verdict", "baseline")


def _runs(run: str) -> sa.Select[Any]:
    return sa.select(store.run).where(store.run.c.id.in_((run, run + DATA_RUN)))


def _made(connection: Connection, run: str) -> dict[str, dict[str, Any]]:
    """Return the artifact rows of a run's outputs by their names."""
    execution, link, artifact = store.execution.c, store.link.c, store.artifact
    query = (
        sa.select(link.name, artifact)
        .join(store.execution, execution.id == link.execution)
        .join(artifact, artifact.c.id == link.artifact)
        .where(execution.run == run, execution.status == "finished", link.direction == "output")
        .order_by(execution.id)
    )
    return {row["name"]: dict(row) for row in connection.execute(query).mappings()}


def _resolved(connection: Connection, value: Json, load: Loader) -> Json:
    """Return an argument of a run; a large one is stored as an artifact, of which a table stays unread."""
    if not isinstance(value, dict) or set(value) != {"artifact"}:
        return value
    row = (
        connection.execute(sa.select(store.artifact).where(store.artifact.c.id == value["artifact"])).mappings().first()
    )
    return load(dict(row)) if row is not None and row["format"] == "json" else value


def _tags(
    connection: Connection, run: str, model: str, row: Mapping[str, Any], data: DataUsed | None
) -> dict[str, str]:
    decision, version = store.decision, store.model_version
    tags: dict[str, Any] = {"run": run, "project": model, "commit": row["commit"], "error": row["error"]}
    if told := connection.execute(sa.select(decision).where(decision.c.run == run)).mappings().first():
        tags |= {"decision": told["id"], "reason": told["reason"], "event": ", ".join(told["events"])}
    if told := connection.execute(sa.select(version).where(version.c.run == run)).mappings().first():
        tags |= {"version": told["id"], "model_sha256": told["sha256"]}
    tags["data_version"] = data.id if data else None
    tags |= {f"with.{name}": text for name, text in _environment(connection, row["id"]).items()}
    return {f"everloop.{name}": str(value) for name, value in tags.items() if value}


def _environment(connection: Connection, run: str) -> dict[str, str]:
    """Return the versions of what the run's steps imported."""
    execution = store.execution.c
    query = sa.select(execution.key_parts).where(execution.run == run).order_by(execution.id)
    found: dict[str, str] = {}
    for parts in connection.execute(query).scalars():
        found |= parts.get("environment") or {}
    return found


def _gate(verdict: Mapping[str, Any]) -> dict[str, str]:
    if not verdict:
        return {}
    return {"everloop.gate": str(verdict["outcome"]), "everloop.gate.reason": str(verdict["reason"])}


def _title(run: str, tags: Mapping[str, str]) -> str:
    """Return a short name: what was decided, and what came of it."""
    known = [tags[name] for name in ("everloop.decision", "everloop.version") if name in tags]
    return " ".join(known) or run


def _data(connection: Connection, run: Mapping[str, Any]) -> DataUsed | None:
    """Return the data version whose table a run was given: the newest of its time."""
    version, rows = store.data_version, run["parameters"].get("rows")
    if not isinstance(rows, dict):
        return None
    query = (
        sa.select(version)
        .where(version.c.artifact == rows.get("artifact"), version.c.created <= run["started"])
        .order_by(version.c.created.desc())
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return DataUsed(row["id"], row["artifact"], row["rows"], row["start"], row["end"], row["origin"])


def _params(ask: Mapping[str, Any], choice: Mapping[str, Any], curves: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, Any] = {name: ask.get(name) for name in ("model", "seed")}
    found |= {f"argument.{name}": value for name, value in (ask.get("parameters") or {}).items()}
    found |= {"estimator": curves.get("estimator")}
    found |= {f"estimator.{name}": _text(value) for name, value in (curves.get("parameters") or {}).items()}
    found |= {"window": ask.get("window"), "window.chosen": choice.get("name"), "window.reason": choice.get("reason")}
    found |= {f"{name}_days": ask[name] / 86400.0 for name in ("horizon", "block") if name in ask}
    found |= {f"gate.{name}": _text(bounds) for name, bounds in (ask.get("gates") or {}).items()}
    return {_key(name): _text(value) for name, value in found.items() if value is not None}


def _metrics(metrics: Mapping[str, float], choice: Mapping[str, Any]) -> dict[str, float]:
    found = {_key(name): float(value) for name, value in metrics.items()}
    for recipe, scores in choice.get("scores", {}).items():
        found |= {_key(f"window.{recipe}.{name}"): float(value) for name, value in scores.items()}
    return found | ({"rows": float(choice["rows"])} if "rows" in choice else {})


def _used(connection: Connection, run: str) -> dict[str, float]:
    """Return what the steps of a run took, by MLflow's names of system metrics; one from the cache took nothing."""
    execution, usage = store.execution.c, store.usage
    query = (
        sa.select(execution.step, usage)
        .join(store.execution, execution.id == usage.c.execution)
        .where(execution.run == run)
        .order_by(execution.id)
    )
    rows = connection.execute(query).mappings()
    return {name: v for row in rows for name, v in system_metrics(dict(row), _key(f"{row['step']}.")).items()}


def system_metrics(usage: Mapping[str, Any] | None, of: str = "") -> dict[str, float]:
    """Return what something took as MLflow shows it, on its page of system metrics."""
    if usage is None:
        return {}
    return {
        f"system/{of}seconds": usage["seconds"],
        f"system/{of}cpu_seconds": usage["cpu_seconds"],
        f"system/{of}peak_memory_megabytes": usage["peak_bytes"] / 1e6,
    }


def _curves(curves: Mapping[str, Any], baseline: list[float]) -> tuple[Curve, ...]:
    rounds = tuple(curves.get("rounds", ()))
    named = (("training_loss", "training"), ("out_of_time_loss", "out_of_time"))
    found = [Curve(name, rounds, tuple(curves[field])) for name, field in named if curves.get(field)]
    blocks = Curve("out_of_time_loss_by_block", tuple(range(len(baseline))), tuple(baseline))
    return (*found, *([blocks] if baseline else []))


def _compared(choice: Mapping[str, Any]) -> list[Curve]:
    """Return what every recipe of the window choice lost by block, where there were rivals."""
    blocks = choice.get("blocks") or {}
    if len(blocks) < 2:
        return []
    return [Curve(_key(f"window.{name}.loss_by_block"), tuple(range(len(b))), tuple(b)) for name, b in blocks.items()]


def _judged(bundle: Bundle, parts: Mapping[str, Any]) -> Judged:
    manifest = bundle.manifest
    rows = judged_rows(bundle)
    target = ((parts.get("schema") or {}).get("target") or {}).get("name", "target")
    classes = tuple(str(value) for value in manifest.classes)
    return Judged(manifest.task, target, classes, rows.times, rows.truth(manifest.classes), rows.answers)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _key(name: str) -> str:
    """Return a name of which every character is one that MLflow and TensorBoard take."""
    return re.sub(r"[^\w\-./]", "_", name)
