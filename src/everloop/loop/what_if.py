"""What only the model of a version can tell, on demand: attacks, and what would have had to be different."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
from numpy.typing import NDArray

from everloop.errors import NotFoundError, UsageError, close_match
from everloop.evaluation.attacks import attacked, check_attackable
from everloop.evaluation.counterfactuals import changeable
from everloop.evaluation.explanations import Predict
from everloop.evaluation.otherwise import Otherwise, otherwise, worst_otherwise
from everloop.inference import Model, columns_from_lists
from everloop.inference.explained import explain_rows
from everloop.journal.search import find
from everloop.loop.evaluating import Evaluated, answered_of, answering, version_of
from everloop.loop.workspace import Workspace
from everloop.types import Prediction

__all__ = [
    "AskedOtherwise",
    "AskedWhy",
    "ask_otherwise",
    "ask_why",
    "check_askable",
    "with_attacks",
    "with_counterfactuals",
]


class AskedOtherwise(msgspec.Struct, frozen=True):
    """A row of a version of a model, with what would have had to be different."""

    model: str
    version: str
    kept: list[str]
    otherwise: Otherwise


class AskedWhy(msgspec.Struct, frozen=True):
    """Why the answer to a row is what it is: `base` and all `values` add up to `answer`."""

    model: str
    version: str
    row: str
    inputs: dict[str, Any]
    of_class: str | int | float | bool | None
    answer: float
    base: float
    values: dict[str, float]
    errors: dict[str, float]
    method: str


def check_askable(workspace: Workspace, id: str | None, *, attacks: bool, counterfactuals: bool) -> None:
    """Raise `UsageError`, before any long work, where a version cannot be asked what is asked of it."""
    row = version_of(workspace, id)
    rows = answered_of(workspace, row)
    _asking(workspace.model(row["bundle"]), row["id"])
    if attacks:
        check_attackable(rows)
    if counterfactuals:
        changeable(rows.columns, _kept(workspace, rows.inputs))


def with_attacks(workspace: Workspace, done: Evaluated, progress: Callable[[int, int], None]) -> Evaluated:
    """Return the evaluation with attacks on the version's served model."""
    row = version_of(workspace, done.version)
    found = attacked(answered_of(workspace, row), _asking(workspace.model(row["bundle"]), done.version), progress)
    return msgspec.structs.replace(done, evaluation=msgspec.structs.replace(done.evaluation, attacks=found))


def with_counterfactuals(workspace: Workspace, done: Evaluated) -> Evaluated:
    """Return the evaluation with what would have had to be different for the right answer, in rows answered worst."""
    row = version_of(workspace, done.version)
    rows, predict = answered_of(workspace, row), _asking(workspace.model(row["bundle"]), done.version)
    found = worst_otherwise(rows, predict, done.evaluation.slices, _kept(workspace, rows.inputs))
    return msgspec.structs.replace(done, evaluation=msgspec.structs.replace(done.evaluation, counterfactuals=found))


def ask_otherwise(
    workspace: Workspace,
    asked: str,
    place: int = 0,
    version: str | None = None,
    wanted: str | None = None,
    keep: Sequence[str] = (),
    free: Sequence[str] = (),
) -> AskedOtherwise:
    """Return what would have to be different in a row: one that a version was judged on, by its number, or predicted.

    A prediction is asked of the version that answered it, corrected as it was then, in its row `place`. Sensitive
    columns keep their values, as those of `keep` do, unless `free` names them.
    """
    name, id, found, level = _row(workspace, asked, place, version)
    row = version_of(workspace, id)
    rows = answered_of(workspace, row)
    kept, predict = _kept(workspace, rows.inputs, keep, free), _asking(workspace.model(row["bundle"]), id, level)
    return AskedOtherwise(workspace.name, id, kept, otherwise(name, found, rows, predict, wanted, kept))


def ask_why(
    workspace: Workspace, asked: str, place: int = 0, version: str | None = None, of_class: str | None = None
) -> AskedWhy:
    """Return how far each column moved the raw answer to a row: a judged one, by its number, or a predicted one."""
    name, id, found, _ = _row(workspace, asked, place, version)
    model = workspace.model(version_of(workspace, id)["bundle"])
    wanted = next((one for one in model.manifest.classes if str(one) == of_class), of_class)
    (told,) = explain_rows(model, found, of_class=wanted)
    plain = {n: v[0].item() if hasattr(v[0], "item") else v[0] for n, v in found.items() if v.ndim == 1}
    told |= {"row": name, "of_class": told.pop("class", None), "inputs": plain}
    return AskedWhy(model=workspace.name, version=id, **told)


def _row(
    workspace: Workspace, asked: str, place: int, version: str | None
) -> tuple[str, str, dict[str, NDArray[Any]], Sequence[float]]:
    """Return a row's name, the version that is asked, its columns, and the level that it was answered with."""
    prediction = None if asked.isdecimal() else _prediction(workspace, asked)
    if place and not prediction:
        raise UsageError(
            f"--row {place} is of a prediction of several; {asked} is a judged row by itself: leave it out"
        )
    row = version_of(workspace, version or (prediction.version if prediction else None))
    if prediction is None:
        return f"row {asked}", row["id"], _judged(answered_of(workspace, row).inputs, int(asked)), ()
    found = _predicted(workspace.model(row["bundle"]), prediction, place)
    return asked, row["id"], found, prediction.level if version is None else ()


def _asking(model: Model, version: str, level: Sequence[float] = ()) -> Predict:
    """Return what asks a model; raises `UsageError` where each question would start a process."""
    predict = answering(model, level)
    if predict is None:
        raise UsageError(f"{version} is a native model: it is asked too slowly for thousands of questions")
    return predict


def _kept(
    workspace: Workspace, known: Collection[str], keep: Sequence[str] = (), free: Sequence[str] = ()
) -> list[str]:
    """Return the columns that keep their values; raises `UsageError` for a name that is no input."""
    for option, names in (("--keep", keep), ("--may-change", free)):
        if wrong := next((name for name in names if name not in known), None):
            raise UsageError(f"{option} {wrong}: no input of the model{close_match(wrong, known)}")
    sensitive = [name for name in workspace.settings.deployment.sensitive if name in known and name not in free]
    return [*sensitive, *(name for name in keep if name not in sensitive)]


def _prediction(workspace: Workspace, id: str) -> Prediction:
    record = next((r for r in find(workspace.journal, id.lower()) if r.kind == "prediction"), None)
    if record is None:
        raise NotFoundError("prediction", id, do="give its whole id, as the server answered it")
    if record.erased:
        raise UsageError(f"prediction {id} was erased: its inputs are gone")
    return record.read(Prediction)


def _judged(inputs: dict[str, NDArray[Any]], number: int) -> dict[str, NDArray[Any]]:
    count = len(next(iter(inputs.values())))
    if not 1 <= number <= count:
        raise UsageError(f"there is no row {number}: the version was judged on rows 1 to {count}, oldest first")
    return {name: values[number - 1 : number] for name, values in inputs.items()}


def _predicted(model: Model, prediction: Prediction, place: int) -> dict[str, NDArray[Any]]:
    inputs = model.guards.clip(columns_from_lists(model.manifest.inputs, prediction.inputs))
    count = len(next(iter(inputs.values())))
    if not 0 <= place < count:
        raise UsageError(f"--row {place}: the prediction has rows 0 to {count - 1}")
    return {name: values[place : place + 1] for name, values in inputs.items()}
