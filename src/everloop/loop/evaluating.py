"""What a version is worth, on the rows that it was judged on; read from its own signed bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop import registry
from everloop.data import Schema
from everloop.data.schema import ORDER
from everloop.errors import UsageError
from everloop.evaluation import Answered, Evaluation, evaluate, paired
from everloop.evaluation.explanations import Predict
from everloop.inference import Model, judged_rows
from everloop.loop.answering import answers_of, remembered, table_of_inputs
from everloop.loop.version_report import rival_of
from everloop.loop.workspace import Workspace
from everloop.settings import seconds
from everloop.types import show_time

__all__ = ["Evaluated", "answered_of", "answering", "evaluate_version", "version_of"]

Tell = Callable[[str], None]


class Evaluated(msgspec.Struct, frozen=True):
    """A version of a model with its evaluation."""

    model: str
    version: str
    evaluation: Evaluation

    def as_told(self) -> dict[str, Any]:
        """Return it as JSON values, with times as text, and without those of rows that have none.

        Values of the rows' own columns stand as they are.
        """
        found = msgspec.to_builtins(self.evaluation)

        def timed(told: dict[str, Any]) -> dict[str, Any]:
            return told | {name: show_time(told[name]) if self.evaluation.block else None for name in ("start", "end")}

        told = timed(found) | {"over_time": [timed(period) for period in found["over_time"]]}
        return {"model": self.model, "version": self.version, "evaluation": told}


def evaluate_version(workspace: Workspace, id: str | None = None, tell: Tell = lambda _part: None) -> Evaluated:
    """Return the evaluation of a version, by default the champion, else the newest.

    Judged are the out-of-time answers that its bundle holds: those of fits that had not seen the rows, on which the
    model itself was fitted again before it serves. They are raw: a level beside the model is not in them.
    """
    row = version_of(workspace, id)
    tell("reading")
    rows = answered_of(workspace, row)
    tell("measuring")
    found = evaluate(rows, answering(workspace.model(row["bundle"])))
    tell("comparing")
    if rival := _rival(workspace, row):
        found = _compared(workspace, rows, rival, found)
    return Evaluated(workspace.name, row["id"], found)


def answering(model: Model, level: Sequence[float] = ()) -> Predict | None:
    """Return what asks a model, and corrects its answers by a level; None where each question would start a process."""
    name, factors = "probability" if model.manifest.classes else "prediction", np.asarray(level)

    def predict(inputs: Any) -> NDArray[np.float64]:
        found = model.predict(inputs)
        return (model.correct(found, factors) if len(factors) else found)[name].astype(np.float64)

    return None if model.native else predict


def version_of(workspace: Workspace, id: str | None) -> dict[str, Any]:
    """Return the row of a version; without an id that of the champion, else of the newest."""
    with workspace.store.read() as connection:
        if id is None:
            id = registry.alias(connection, workspace.name, "champion")
        row = registry.get(connection, workspace.name, id) if id else registry.latest(connection, workspace.name)
    if row is None:
        raise UsageError("there is no version to evaluate yet: `everloop run` trains the first")
    return row


def answered_of(workspace: Workspace, row: Mapping[str, Any]) -> Answered:
    """Return the rows that a version was judged on, with its out-of-time answers."""
    bundle = workspace.model(row["bundle"]).bundle
    schema = msgspec.json.decode(bundle.read("schema.json"), type=Schema)
    rows = judged_rows(bundle)
    if len(rows.times) < 2:
        raise UsageError(f"{row['id']} was judged on {len(rows.times)} rows: too few to evaluate it")
    block = 0.0 if schema.time == ORDER else seconds(workspace.settings.monitoring.block)
    sensitive = workspace.settings.deployment.sensitive
    return Answered(
        schema.task, schema.classes, schema.inputs, rows.inputs, rows.truth(schema.classes), rows.answers, rows.times,
        block, sensitive,
    )  # fmt: skip


def _rival(workspace: Workspace, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return whom a version is held against: the champion, or the one before where it is champion itself."""
    with workspace.store.read() as connection:
        champion = registry.alias(connection, workspace.name, "champion")
        if champion is not None and champion != row["id"]:
            return registry.get(connection, workspace.name, champion)
        return rival_of(connection, workspace.name, row["id"])


def _compared(workspace: Workspace, rows: Answered, rival: Mapping[str, Any], found: Evaluation) -> Evaluation:
    """Return the evaluation with the comparison, on rows that the rival was not trained on."""
    model: Model = workspace.model(rival["bundle"])
    schema = msgspec.json.decode(model.bundle.read("schema.json"), type=Schema)
    if schema.names != [c.name for c in rows.columns]:
        return found
    answers = answers_of(model, table_of_inputs(rows.inputs), schema)
    fair = rows.times > float(rival["window"]["until"])
    if not fair.any():
        fair, answers = remembered(model, rows.inputs, rows.times, answers)
    if fair.sum() < 2:
        return found
    own = rows.take(fair)
    theirs = Answered(own.task, own.classes, own.columns, own.inputs, own.truth, answers[fair], own.times, own.block)
    return msgspec.structs.replace(found, paired=paired(own, theirs, rival["id"]))
