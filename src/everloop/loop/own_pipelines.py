"""Pipelines of a project's own by name, and the retraining: run, compiled, scheduled."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from everloop import git
from everloop.errors import UsageError, close_match
from everloop.loop.developing import prepare_retraining
from everloop.loop.pipeline_versions import code_of
from everloop.loop.retraining import retrain
from everloop.loop.runners import executor_of, runner_of, target_of
from everloop.loop.workspace import Workspace
from everloop.pipelines import Engine, LocalExecutor, Pipeline, Progress, Run
from everloop.pipelines.compilers.kubeflow import compile_pipeline
from everloop.pipelines.compilers.kubeflow_runs import KubeflowRunner
from everloop.pipelines.entry import pipeline_named
from everloop.types import new_id

__all__ = ["compile_own", "run_own", "schedule_own"]


def run_own(
    workspace: Workspace, reference: str, given: Mapping[str, Any], run: str | None, report: Callable[[Progress], None]
) -> Run:
    """Run a pipeline of the project where `[pipelines]` says, or go on with the run of that id."""
    pipeline, arguments = _named(workspace, reference, given)
    with contextlib.closing(executor_of(workspace)) as executor:
        engine = Engine(workspace.store, workspace.artifacts, executor, workspace.folder, time.time)
        runner = runner_of(workspace, engine)
        commit = git.describe(workspace.folder)
        return runner.run(pipeline, arguments, run_id=run, commit=commit, on_progress=report)


def compile_own(workspace: Workspace, reference: str | None, given: Mapping[str, Any], file: Path) -> None:
    """Write the IR YAML of a pipeline of the project, or of the retraining on its data as it is now."""
    target = target_of(workspace)
    if reference is None:
        if given:
            raise UsageError("the retraining takes its arguments from the project file: name a pipeline to set some")
        pipeline, arguments = retrain, _retraining(workspace)
    else:
        pipeline, arguments = _named(workspace, reference, given)
    compile_pipeline(pipeline, arguments, workspace.artifacts, target, file)


def schedule_own(workspace: Workspace, reference: str, given: Mapping[str, Any], cron: str) -> str:
    """Let Kubeflow Pipelines run a pipeline of the project again and again; returns the id of the recurring run."""
    pipeline, arguments = _named(workspace, reference, given)
    runner = runner_of(workspace, _engine(workspace))
    if not isinstance(runner, KubeflowRunner):
        raise UsageError("only Kubeflow Pipelines keeps a schedule of its own: set [pipelines] runner = 'kubeflow'")
    return runner.recur(pipeline, arguments, f"{workspace.name} {pipeline.name}", cron)


def _retraining(workspace: Workspace) -> dict[str, Any]:
    now, code = time.time(), code_of(workspace)
    engine = _engine(workspace)
    return prepare_retraining(workspace, engine, code, code.settings, new_id(now), now).arguments


def _engine(workspace: Workspace) -> Engine:
    executor = LocalExecutor(workspace.artifacts)
    return Engine(workspace.store, workspace.artifacts, executor, workspace.folder, time.time)


def _named(workspace: Workspace, reference: str, given: Mapping[str, Any]) -> tuple[Pipeline[..., Any], dict[str, Any]]:
    """Return a pipeline and its arguments, typed by its annotations."""
    for place in (workspace.folder / "src", workspace.folder):
        if place.is_dir() and str(place) not in sys.path:
            sys.path.insert(0, str(place))
    pipeline = pipeline_named(reference)
    known = pipeline.signature.parameters
    if unknown := [name for name in given if name not in known]:
        raise UsageError(f"pipeline {reference!r} has no argument {unknown[0]!r}{close_match(unknown[0], known)}")
    arguments = {}
    for name, value in given.items():
        hint = pipeline.hints.get(name, Any)
        try:
            arguments[name] = Path(value) if hint is Path else msgspec.convert(value, hint)
        except (msgspec.ValidationError, TypeError) as error:
            raise UsageError(f"--set {name}: {error}") from error
    return pipeline, arguments
