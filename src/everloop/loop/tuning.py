"""The tuning of a model's parameters: trials judged as trainings are, on older rows than any gate looks at."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from everloop import git
from everloop import store as tables
from everloop.data import event_times
from everloop.errors import SettingsError, UsageError, close_match
from everloop.loop.developing import Prepared, prepare_retraining
from everloop.loop.pipeline_versions import Code
from everloop.loop.retraining import Ask, problem_of
from everloop.loop.runners import executor_of
from everloop.loop.trials import Judging, Trial, run_trials, trial_of
from everloop.loop.workspace import Workspace
from everloop.pipelines import Artifact, Engine
from everloop.pipelines.executors import Executor, Usage
from everloop.settings import Search, located
from everloop.settings.writing import set_parameters
from everloop.training import forget_modules, load_function
from everloop.training.search import fits, open_study, try_again
from everloop.training.window import before_judged, past_origins
from everloop.types import Json, as_json, new_id

__all__ = ["Tuned", "tune"]

FAILURES = 5
"""Trials that fail one after another before a call gives up."""


class Tuned(msgspec.Struct, frozen=True):
    """A study as far as it has come: how its trials ended, the best, and that of the parameters as they were."""

    study: str
    data_version: str
    rows: int
    """How many of the oldest rows of the training set were looked at: no gate judges on any of them."""
    complete: int
    pruned: int
    failed: int
    best: Trial
    before: Trial | None
    written: bool
    """Whether the best parameters stand in the project file now."""


def tune(
    workspace: Workspace,
    trials: int | None = None,
    minutes: float | None = None,
    *,
    write: bool = True,
    tell: Callable[[str], None] = lambda _: None,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Tuned:
    """Search the parameters that `[tuning]` names, and write the best into the project file where they lose less.

    `trials` are those of the study in all. One of the same rows, code and ranges goes on where an earlier call ended,
    at whatever point that was killed.
    """
    forget_modules(workspace.folder)
    tuning, usual = workspace.settings.tuning, _usual(workspace)
    wanted, end = trials or tuning.trials, time.monotonic() + (tuning.minutes if minutes is None else minutes) * 60
    call = _Call(workspace)
    executor = executor_of(workspace)
    try:
        tell("data")
        prepared = _prepared(workspace, executor, call.id)
        judging = _judging(workspace, executor, prepared)
        name = _name(judging.ask, tuning.parameters, judging.rows)
        state = workspace.path(workspace.settings.storage.lease).parent
        study = open_study(state / "tuning" / f"{name}.log", name, judging.ask.seed)
        call.begin(study, prepared, judging)
        try_again(study, usual)
        tell("trials")

        def more(under_way: int) -> bool:
            ended = sum(one.state.name in ("COMPLETE", "PRUNED") for one in study.get_trials(deepcopy=False))
            report(ended, wanted)
            return ended + under_way < wanted and time.monotonic() < end and call.failures < FAILURES

        run_trials(study, tuning.parameters, judging, tuning.parallel, more, call.ended)
    finally:
        executor.close()
    done = [trial_of(one) for one in study.get_trials(deepcopy=False)]
    found = _found(done, usual, name, prepared.data_version, judging.known, call.reason)
    call.end(found)
    if write and found.best.parameters != usual:
        set_parameters(workspace.folder, found.best.parameters)
        return msgspec.structs.replace(found, written=True)
    return found


def _usual(workspace: Workspace) -> dict[str, Any]:
    """Return the searched parameters as they stand; raises `SettingsError` for one that cannot be searched so."""
    training, searched = workspace.settings.training, workspace.settings.tuning.parameters
    if not searched:
        raise UsageError(
            "there is nothing to tune: name parameters of the model function in everloop.toml, such as "
            "[tuning.parameters] trees = { min = 50, max = 500 }"
        )
    known = inspect.signature(load_function(training.model, workspace.folder)).parameters
    stand = {name: one.default for name, one in known.items()} | training.parameters
    for name, told in searched.items():
        wrong = ""
        if name not in known:
            wrong = f"{training.model!r} has no parameter {name!r}{close_match(name, known)}"
        elif not fits(stand[name], told):
            shown = "has no value" if stand[name] is inspect.Parameter.empty else f"is {stand[name]!r}"
            wrong = f"it {shown} now, which is none of what is searched: widen that, or set it in [training] parameters"
        if wrong:
            with located(workspace.folder):
                raise SettingsError(f"[tuning.parameters] {name} = ...: {wrong}")
    return {name: stand[name] for name in searched}


def _prepared(workspace: Workspace, executor: Executor, call: str) -> Prepared:
    """Return the training set, as a data version: that of a training that would begin now."""
    code = Code(workspace.folder, git.describe(workspace.folder), workspace.settings)
    engine = Engine(workspace.store, workspace.artifacts, executor, code.folder, time.time)
    return prepare_retraining(workspace, engine, code, workspace.settings, call, time.time())


def _judging(workspace: Workspace, executor: Executor, prepared: Prepared) -> Judging:
    rows, ask = prepared.arguments["rows"], prepared.arguments["ask"]
    problem = problem_of(prepared.schema, ask, workspace.folder)
    times = event_times(workspace.artifacts.get(rows), prepared.schema.time)
    known = before_judged(problem, times)
    if known < 2:
        raise UsageError("there are too few rows before those that gates judge on: bring older ones in")
    places = len(past_origins(problem, times[:known]))
    return Judging(executor, workspace.artifacts, rows, prepared.schema, ask, known, places, workspace.folder)


def _name(ask: Ask, searched: Mapping[str, Search], rows: Artifact) -> str:
    """Return what names a study: trials of other rows, code, ranges or ways of judging do not compare with its own."""
    plain = {name: value for name, value in ask.parameters.items() if name not in searched}
    same = msgspec.structs.replace(ask, parameters=plain, gates={}, first=False)
    content = msgspec.json.encode([same, dict(searched), rows.id], order="sorted")
    return hashlib.sha256(content).hexdigest()[:12]


def _found(done: list[Trial], usual: Mapping[str, Any], name: str, data: str, rows: int, reason: str) -> Tuned:
    complete = [one for one in done if one.state == "complete" and one.loss is not None]
    if not complete:
        why = f": the last one failed, {reason}" if reason else ""
        raise UsageError(f"no trial came to its end{why}; mend the model function, or give it more minutes")
    counts = {state: sum(one.state == state for one in done) for state in ("complete", "pruned", "fail")}
    before = next((one for one in complete if one.parameters == usual), None)
    best = min(complete, key=lambda one: (one.loss, one is not before, one.number))
    return Tuned(name, data, rows, counts["complete"], counts["pruned"], counts["fail"], best, before, False)


class _Call:
    """One call: MLflow is told of it and of each of its trials, as of everything, by the outbox."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._began = workspace, time.time()
        self.id = f"tune-{new_id(self._began)}"
        self.reason, self.failures = "", 0
        self._about: dict[str, Json] = {}

    def begin(self, study: Any, prepared: Prepared, judging: Judging) -> None:
        """Tell that it has begun, and that the call before it has ended, however it did."""
        if before := study.user_attrs.get("call"):
            self._tell("tuning", {"id": before, "status": "killed"})
        study.set_user_attr("call", self.id)
        self._about = {
            "study": study.study_name,
            "data_version": prepared.data_version,
            "model": judging.ask.model,
            "rows": judging.known,
            "started": self._began,
        }
        self._tell("tuning", self._about | {"status": "running"})

    def ended(self, trial: Trial, began: float, reason: str, usage: Usage | None) -> None:
        """Tell how a trial ended."""
        self.reason = reason or self.reason
        self.failures = self.failures + 1 if trial.state == "fail" else 0
        told = {"study": self._about["study"], "started": began, "reason": reason, "usage": as_json(usage)}
        self._tell("trial", as_json(trial) | told)

    def end(self, found: Tuned) -> None:
        """Tell what came of it."""
        self._tell("tuning", self._about | {"status": "finished", "found": as_json(found)})

    def _tell(self, kind: str, payload: dict[str, Json]) -> None:
        now = time.time()
        with self._workspace.store.begin() as connection:
            told = {"id": self.id, "time": now} | payload
            connection.execute(tables.outbox.insert().values(kind=kind, time=now, payload=told))
