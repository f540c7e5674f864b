"""What a model must show before it is trusted: its code, its learning, its steps, its answers, its place to serve."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from everloop import registry
from everloop.data.sources.files import is_local, matches
from everloop.errors import (
    BundleError,
    CheckError,
    DataError,
    EverloopError,
    SettingsError,
    StepError,
    UsageError,
    close_match,
)
from everloop.evaluation.checked import Checked, held
from everloop.loop.bundle_tests import behaviour, parity, serving
from everloop.loop.developing import ask_of, developer
from everloop.loop.pipeline_versions import run_tests
from everloop.loop.retraining import Ask, problem_of, retrain
from everloop.loop.workspace import Workspace
from everloop.pipelines import Artifact, LocalExecutor, Progress, arguments_of_run
from everloop.pipelines.graph import trace
from everloop.pipelines.history import runs_of
from everloop.settings import Augment, Storage, located
from everloop.training import forget_modules
from everloop.training.learning import Learned, by_heart, learned
from everloop.training.media import decoded

__all__ = ["Examined", "examine_model"]

SAMPLE = 2000
"""Rows that an estimator is fitted on to see that it learns: the newest ones."""
FALLEN = 0.1
"""Of a constant's loss, what may be left on rows that are to be learnt by heart."""
Tell = Callable[[str], None]


class Examined(msgspec.Struct, frozen=True):
    """All checks of one model in their order; `version` is empty where it was trained for them alone."""

    version: str
    checks: list[Checked]

    @property
    def failed(self) -> int:
        return sum(check.result == "failed" for check in self.checks)


class Subject(NamedTuple):
    """What is tested: a run, its bundle, and the arguments that its training had."""

    workspace: Workspace
    version: str
    run: str
    bundle: Path
    arguments: dict[str, Any]


def examine_model(workspace: Workspace, version: str | None = None, tell: Tell = lambda _: None) -> Examined:
    """Return every check of a version, by default the newest; before the first one, of a model that is trained for it.

    Nothing is stored: a model that is trained here has a state of its own, which is gone afterwards.
    """
    skip = workspace.settings.tests.skip
    tell("tests of the code")
    checks = [_unit_tests(workspace)]
    with contextlib.ExitStack() as stack:
        try:
            subject = stack.enter_context(_subject(workspace, version, tell))
        except DataError as error:
            return _examined("", [*checks, *_none(str(error))], skip)
        except (StepError, CheckError) as error:
            told = f"step {error.step}: {error.reason}" if isinstance(error, StepError) else str(error)
            failed = Checked("steps give artifacts", "failed", told.partition("; all reasons: ")[0])
            return _examined("", [*checks, failed, *_none("no model could be trained")], skip)
        checks.append(_steps(subject))
        tell("learning")
        checks += _learning(subject)
        tell("answers")
        try:
            subject.workspace.model(str(subject.bundle))
        except BundleError as error:
            unanswered = Checked("bundle answers as the model", "failed", str(error))
            return _examined(subject.version, [*checks, unanswered, *serving(subject.workspace, subject.bundle)], skip)
        source = subject.arguments["rows"], subject.arguments["schema"], subject.arguments["ask"]
        checks.append(parity(subject.workspace, subject.bundle, *source, subject.arguments["choice"]))
        checks += behaviour(subject.workspace, subject.bundle)
        tell("serving")
        checks += serving(subject.workspace, subject.bundle)
        _refuse_unknown(workspace, [check.name for check in checks])
        return _examined(subject.version, checks, skip)


def _examined(version: str, checks: list[Checked], skip: tuple[str, ...]) -> Examined:
    left = [
        Checked(check.name, "skipped", "the project file leaves it out: [tests] skip") if check.name in skip else check
        for check in checks
    ]
    return Examined(version, left)


def _refuse_unknown(workspace: Workspace, names: list[str]) -> None:
    for name in workspace.settings.tests.skip:
        if name not in names:
            with located(workspace.folder):
                raise SettingsError(f"[tests] skip = ...: {name!r} is no check{close_match(name, names)}")


def _none(why: str) -> list[Checked]:
    return [Checked("the model", "skipped", f"nothing to test: {why}")]


@contextlib.contextmanager
def _subject(workspace: Workspace, version: str | None, tell: Tell) -> Iterator[Subject]:
    """Give the version to be tested, or where there is none, a model that is trained from the project's files."""
    with workspace.store.read() as connection:
        row = (
            registry.get(connection, workspace.name, version)
            if version
            else registry.latest(connection, workspace.name)
        )
    forget_modules(workspace.folder)
    if row is not None:
        arguments = arguments_of_run(workspace.store, workspace.artifacts, "train", row["run"])
        yield Subject(workspace, row["id"], row["run"], workspace.path(row["bundle"]), arguments)
        return
    source = workspace.settings.data.source
    if is_local(source):
        matches(source, workspace.folder)  # raises where there is nothing to train on
    tell("training")
    with (
        tempfile.TemporaryDirectory(prefix="everloop-test-") as place,
        contextlib.closing(_apart(workspace, Path(place))) as apart,
    ):
        develop = developer(apart, _no_report, LocalExecutor(apart.artifacts))
        done = develop("test", time.time(), {})
        arguments = arguments_of_run(apart.store, apart.artifacts, "train", done.run)
        yield Subject(apart, "", done.run, apart.path(done.bundle), arguments)


def _no_report(_: Progress) -> None:
    return


def _apart(workspace: Workspace, state: Path) -> Workspace:
    """Return the project with a state of its own; its data folder is named so that no version of it is made."""
    storage = Storage(
        store=f"sqlite:///{state / 'store.db'}",
        **{name: str(state / name) for name in ("artifacts", "bundles", "journal", "keys")},
        plan=str(state / "plan.json"),
        lease=str(state / "controller.lease"),
    )
    settings, source = workspace.settings, workspace.settings.data.source
    absolute = source if "://" in source else str(workspace.folder / source)
    data = msgspec.structs.replace(settings.data, source=absolute)
    here = msgspec.structs.replace(settings.pipelines, runner="local")
    return Workspace(workspace.folder, msgspec.structs.replace(settings, data=data, storage=storage, pipelines=here))


def _unit_tests(workspace: Workspace) -> Checked:
    try:
        told = run_tests(workspace.folder, "the project")
    except CheckError as error:
        return Checked("unit tests", "failed", str(error))
    except UsageError:
        return Checked("unit tests", "skipped", "pytest is not installed")
    if not told:
        return Checked("unit tests", "skipped", "the project has no tests")
    passed = re.search(r"(\d+) passed", told)
    return Checked("unit tests", "passed", told, int(passed[1]) if passed else None)


def _steps(subject: Subject) -> Checked:
    """Check that each step of the run ended, and that what it gave is there, byte by byte."""
    name, artifacts = "steps give artifacts", 0
    found = runs_of(subject.workspace.store, subject.run)
    done = {one.step: one for run in found for one in run.executions if one.status in ("finished", "cached")}
    nothing = dict.fromkeys(retrain.signature.parameters)
    for step in (node.name for node in trace(retrain, nothing).nodes):
        if step not in done or not done[step].outputs:
            return Checked(name, "failed", f"step {step} of run {subject.run} gave nothing", artifacts)
        for output, known in done[step].outputs.items():
            try:
                subject.workspace.artifacts.get(Artifact(known.id, known.format, known.uri, known.size))
            except EverloopError as error:
                return Checked(name, "failed", f"{output} of step {step}: {error}", artifacts)
            artifacts += 1
    return Checked(name, "passed", f"of {len(done)} steps of run {subject.run}", artifacts)


def _learning(subject: Subject) -> Iterator[Checked]:
    """Check the project's estimator as it stands, on rows of the model's training set."""
    schema, settings = subject.arguments["schema"], subject.workspace.settings
    rows = decoded(subject.arguments["rows"].iloc[-SAMPLE:].reset_index(drop=True), schema.inputs)
    ask: Ask = msgspec.structs.replace(ask_of(settings, subject.workspace.folder, first=True), augment=Augment())
    problem = problem_of(schema, ask, subject.workspace.folder)
    if rows[schema.target.name].nunique() < 2:
        yield Checked("loss falls", "skipped", f"the newest {len(rows)} rows have one target")
        return
    yield _fallen(learned(problem, rows))
    numbers = all(c.dtype == "float64" for c in schema.inputs)
    few = by_heart(problem, rows, numbers)
    bound = FALLEN * few.constant
    told = f"loss on {few.rows} rows that it saw often; the best constant has {few.constant:.4g}"
    yield held("overfits few rows", few.loss <= bound, told, few.loss, bound)


def _fallen(found: Learned) -> Checked:
    fell, told = found.loss < found.constant, f"loss on the {found.rows} rows of the fit; the bound is a constant's"
    if found.first is not None and found.last is not None:
        fell = fell and found.last < found.first
        told += f"; {found.first:.4g} after its first round, {found.last:.4g} after its last"
    return held("loss falls", fell, told, found.loss, found.constant)
