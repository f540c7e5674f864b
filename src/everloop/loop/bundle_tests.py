"""Whether a bundle may serve: it answers as what was trained, with numbers, as declared, in time, in a bare process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.bundles import trusted
from everloop.data import Schema, event_times
from everloop.errors import CheckError, ParityError
from everloop.evaluation.behaviour import KINDS, Arrays, met, odd_answers, words_of
from everloop.evaluation.checked import Checked, held
from everloop.inference import Model
from everloop.inference.tensors import unknown_categories
from everloop.inference.trial import Found, Order, known_rows
from everloop.loop.answering import answers_of
from everloop.loop.retraining import Ask, Window, problem_of
from everloop.loop.workspace import Workspace
from everloop.pipelines import fingerprint
from everloop.settings import located, seconds, size
from everloop.training import check_answers, fit_recipe
from everloop.training.media import decoded
from everloop.training.parity import ALLOWED_SHARE

__all__ = ["behaviour", "parity", "serving"]

ROWS, ODD_ROWS = 500, 5
SAME = 1e-5
"""How far answers of the same bundle may differ between two processes."""


def parity(workspace: Workspace, bundle: Path, rows: pd.DataFrame, schema: Schema, ask: Ask, choice: Window) -> Checked:
    """Check that the bundle answers all rows of its training as the estimator does, which is fitted again for it."""
    name = "bundle answers as the model"
    if ask.code != fingerprint(ask.model, workspace.folder):
        return Checked(name, "skipped", f"the code of {ask.model} has changed since: `everloop run` trains with it")
    rows = decoded(rows, schema.inputs)
    times = event_times(rows, schema.time)
    trained = fit_recipe(problem_of(schema, ask, workspace.folder), rows, times, choice.recipe, float(times[-1]))
    spread = float(rows[schema.target.name].std()) if schema.task == "regression" else 1.0
    model = _model(workspace, bundle)
    try:
        found = check_answers(answers_of(model, rows, schema), trained.answers(rows), schema.task, spread, "the bundle")
    except ParityError as error:
        return Checked(name, "failed", str(error), None, ALLOWED_SHARE)
    told = f"share of {int(found['rows']):,} rows that differ; the largest difference is {found['largest']:.2g}"
    return Checked(name, "passed", told, found["share"], ALLOWED_SHARE)


def behaviour(workspace: Workspace, bundle: Path) -> Iterator[Checked]:
    """Check that odd rows get numbers, and that answers move as the project file expects."""
    model = _model(workspace, bundle)
    inputs, classes = model.manifest.inputs, model.manifest.classes
    few, known = known_rows(model, ODD_ROWS), known_rows(model, ROWS)
    for kind in KINDS:
        yield _numbers(kind, model, few)
    for expectation in workspace.settings.tests.expectations:
        with located(workspace.folder):
            found = met(expectation, inputs, classes, known, lambda arrays: _answers(model, arrays))
        rows = len(next(iter(known.values())))
        turned = {"same": False, "up": found.moved <= 0, "down": found.moved >= 0}[expectation.expect]
        told = f"share of {rows} rows; on average it moves by {found.moved:+.4g}"
        told += f"; first {found.first}" if found.first else ""
        fine = found.share >= expectation.share and not turned
        yield held(words_of(expectation), fine, told, found.share, expectation.share)


def serving(workspace: Workspace, bundle: Path) -> Iterator[Checked]:
    """Check that a process as bare as a server's loads the bundle and answers the same, in time and memory."""
    found, name = _tried(workspace, bundle), "loads where it serves"
    if found.error:
        yield Checked(name, "failed", found.error)
        return
    model = _model(workspace, bundle)
    rows = known_rows(model, Order(bundle="", keys=[]).rows)
    here = _answers(model, {n: v[: found.rows] for n, v in rows.items()}).reshape(found.rows, -1)
    there = np.asarray(found.answers, dtype=np.float64).reshape(found.rows, -1)
    apart = float(np.abs(here - there).max() / max(1.0, float(np.abs(here).max())))
    told = f"relative difference of {found.rows} answers; loaded and warm in {found.load:.0f} ms"
    yield held(name, apart <= SAME, told, apart, SAME)
    budget = workspace.settings.tests
    bound = seconds(budget.latency) * 1000 if budget.latency else None
    told = f"of {found.rows} rows one by one, without HTTP; half of them within {found.p50:.2g} ms"
    yield _within("latency p99, ms", told, found.p99, bound, "latency")
    memory = size(budget.memory) / 1e6 if budget.memory else None
    yield _within("memory, MB", "the most that the process held", found.memory / 1e6, memory, "memory")


def _model(workspace: Workspace, bundle: Path) -> Model:
    return workspace.model(str(bundle))


def _answers(model: Model, arrays: Arrays) -> NDArray[np.float64]:
    """Return answers as serving gives them: guards may clip rows, or refuse them."""
    sent = dict(arrays)
    kept, _ = model.guards.check(sent, unknown_categories(model.manifest.inputs, sent))
    found = model.predict(kept)
    return found["prediction" if "prediction" in found else "probability"].astype(np.float64)


def _numbers(kind: str, model: Model, few: dict[str, NDArray[Any]]) -> Checked:
    name = f"no NaN from {kind}"
    found = odd_answers(kind, model.manifest.inputs, few, lambda arrays: _answers(model, arrays))
    if not found.answered:
        why = "guards refuse them" if found.refused else "no input can be sent so"
        return Checked(name, "skipped", why)
    told = f"of {found.answered} answers"
    told += f", {found.refused} more rows are refused by guards" if found.refused else ""
    told += f"; {found.first}: fill it in in the model, or set [guards] schema = 'reject'" if found.first else ""
    return held(name, not found.wrong, told, float(found.wrong), 0.0)


def _tried(workspace: Workspace, bundle: Path) -> Found:
    allowed = workspace.settings.serving.native
    order = Order(
        bundle=str(bundle),
        keys=[key.text for key in trusted(workspace.keys)],
        native=list(allowed) if allowed is not None else None,
        threads=workspace.settings.serving.threads,
    )
    command = [sys.executable, "-m", "everloop.inference.trial"]
    ended = subprocess.run(command, input=msgspec.json.encode(order), capture_output=True, check=False)
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {ended.returncode}"]
        return Found(error=f"the process that loads it ended: {lines[-1]}")
    try:
        return msgspec.json.decode(ended.stdout, type=Found)
    except msgspec.MsgspecError as error:
        raise CheckError(f"the process that loads the bundle said what cannot be read: {error}") from error


def _within(name: str, told: str, value: float, bound: float | None, key: str) -> Checked:
    if bound is None:
        return Checked(name, "skipped", f"measured only: [tests] {key} declares no budget; {told}", value)
    return held(name, value <= bound, told, value, bound)
