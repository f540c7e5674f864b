"""Runs under TFX and MLRun on this machine: their engine, their records, our entry point in the project's Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.compilers import Target
from everloop.pipelines.compilers.commands import commands_of, work_off
from everloop.pipelines.declared import Environment
from everloop.pipelines.engine import Engine, Progress, Run
from everloop.pipelines.step import Pipeline

__all__ = ["MLRUN", "TFX", "ScriptRunner", "mlrun_runner", "tfx_runner"]

TFX = Environment(python="3.11", packages=("tfx==1.16.0", "dill", "setuptools<81"))
MLRUN = Environment(python="3.11", packages=("mlrun==1.12.1", "setuptools<81"))


class ScriptRunner:
    """Hands pipelines to an engine of this machine by a script in its own environment.

    What that engine records lies in `.everloop/NAME` of the project.
    """

    def __init__(
        self,
        engine: Engine,
        artifacts: ArtifactStore,
        target: Target,
        name: str,
        script: Path,
        environment: Environment,
    ) -> None:
        self._engine, self._artifacts, self._target = engine, artifacts, target
        self._name, self._script, self._environment = name, script, environment

    def run(
        self,
        pipeline: Pipeline[..., Any],
        arguments: Mapping[str, Any],
        *,
        run_id: str | None = None,
        event: str | None = None,
        decision: str | None = None,
        commit: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Run:
        """Run a pipeline there, or go on with the run of that id; raises StepError where a step failed."""
        id = self._engine.begin(pipeline, arguments, run_id=run_id, event=event, decision=decision, commit=commit)
        if not self._engine.is_finished(id):
            pods = commands_of(pipeline, arguments, self._artifacts, self._target, id)
            folder = Path(self._target.project, ".everloop", self._name)
            order = {"pipeline": pipeline.name, "run": id, "folder": str(folder), "pods": msgspec.to_builtins(pods)}
            work_off(self._engine, id, self._script, self._environment, order)
            self._engine.finish(id)
            for progress in self._engine.progress_of(id) if on_progress else ():
                assert on_progress is not None
                on_progress(progress)
        return self._engine.outcome(pipeline, arguments, run_id=id)


def _beside(name: str) -> Path:
    return Path(__file__).with_name(name)


def tfx_runner(engine: Engine, artifacts: ArtifactStore, target: Target, _project: str) -> ScriptRunner:
    """Return the runner under TFX's LocalDagRunner, with its ML Metadata store."""
    return ScriptRunner(engine, artifacts, target, "tfx", _beside("inside_tfx.py"), TFX)


def mlrun_runner(engine: Engine, artifacts: ArtifactStore, target: Target, _project: str) -> ScriptRunner:
    """Return the runner that makes each pod an MLRun function and run."""
    return ScriptRunner(engine, artifacts, target, "mlrun", _beside("inside_mlrun.py"), MLRUN)
