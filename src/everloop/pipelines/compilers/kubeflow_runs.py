"""Runs on Kubeflow Pipelines through its own client: versions by content, one run an id, waiting, recurring runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from everloop.errors import SystemError_, UsageError
from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.compilers import Target
from everloop.pipelines.compilers.kubeflow import RUN, compile_pipeline, name_of
from everloop.pipelines.engine import Engine, Progress, Run
from everloop.pipelines.entry import arguments_as_text
from everloop.pipelines.step import Pipeline

__all__ = ["KubeflowRunner", "make"]

_ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED", "ERROR"}
_GOOD = "SUCCEEDED"


class KubeflowRunner:
    """Runs pipelines on the Kubeflow Pipelines API at the target's address, and waits for them.

    `pause` waits so many seconds between two looks at a run.
    """

    def __init__(
        self,
        engine: Engine,
        artifacts: ArtifactStore,
        target: Target,
        experiment: str,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if not target.address:
            raise UsageError("runner 'kubeflow' needs to know where Kubeflow Pipelines is: set [pipelines] address")
        self._engine, self._artifacts, self._target = engine, artifacts, target
        self._experiment, self._pause = experiment, pause
        with _spoken(target.address):
            import kfp

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it only works with today's versions
                self._client: Any = kfp.Client(host=target.address)

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
        """Run a pipeline there, or wait for the run of that id that is under way there.

        Raises StepError where a step failed, SystemError_ where the run ended otherwise or nothing answers.
        """
        id = self._engine.begin(pipeline, arguments, run_id=run_id, event=event, decision=decision, commit=commit)
        if not self._engine.is_finished(id):
            texts = arguments_as_text(pipeline, arguments, self._artifacts)
            with _spoken(self._target.address):
                there = self._under_way(id) or self._start(pipeline, arguments, {RUN: id, **texts}, id)
                state = self._wait(there, id, on_progress or (lambda _: None))
            if state != _GOOD:
                self._engine.raise_failure(id)
                raise SystemError_(f"run {id} ended as {state} at {self._target.address}, and no step says why")
        return self._engine.outcome(pipeline, arguments, run_id=id)

    def upload(self, pipeline: Pipeline[..., Any], arguments: Mapping[str, Any]) -> tuple[str, str]:
        """Make a version of the compiled pipeline, unless one has that content; returns both ids."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "pipeline.yaml")
            compile_pipeline(pipeline, arguments, self._artifacts, self._target, file, defaults=False)
            content = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
            with _spoken(self._target.address):
                known = self._client.get_pipeline_id(name_of(pipeline))
                if known is None:
                    known = self._client.upload_pipeline(str(file), pipeline_name=name_of(pipeline)).pipeline_id
                version = self._version(known, content)
                if version is None:
                    made = self._client.upload_pipeline_version(str(file), content, pipeline_id=known)
                    version = made.pipeline_version_id
        return known, version

    def recur(self, pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], name: str, cron: str) -> str:
        """Let Kubeflow run a pipeline again and again, each run by the id it is given there; returns its id.

        `cron` has six fields, seconds first.
        """
        texts = arguments_as_text(pipeline, arguments, self._artifacts)
        known, version = self.upload(pipeline, arguments)
        with _spoken(self._target.address):
            experiment = self._client.create_experiment(self._experiment).experiment_id
            made = self._client.create_recurring_run(
                experiment, name, cron_expression=cron, params={RUN: "", **texts}, pipeline_id=known,
                version_id=version, no_catchup=True, enable_caching=False,
            )  # fmt: skip
        return str(made.recurring_run_id)

    def _start(
        self, pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], texts: Mapping[str, str], id: str
    ) -> str:
        known, version = self.upload(pipeline, arguments)
        experiment = self._client.create_experiment(self._experiment).experiment_id
        made = self._client.run_pipeline(
            experiment, id, params=dict(texts), pipeline_id=known, version_id=version, enable_caching=False
        )
        return str(made.run_id)

    def _under_way(self, id: str) -> str | None:
        """Return the run there that carries our id and has not ended badly: we may have been killed while we waited."""
        found = self._client.list_runs(filter=_named("display_name", id), page_size=100).runs or []
        return next((str(run.run_id) for run in found if run.state not in _ENDED - {_GOOD}), None)

    def _version(self, pipeline: str, content: str) -> str | None:
        found = self._client.list_pipeline_versions(pipeline, filter=_named("display_name", content))
        return next((str(v.pipeline_version_id) for v in found.pipeline_versions or []), None)

    def _wait(self, there: str, id: str, report: Callable[[Progress], None]) -> str:
        told: set[str] = set()
        while True:
            state = str(self._client.get_run(there).state)
            for progress in self._engine.progress_of(id):
                if progress.step not in told:
                    told.add(progress.step)
                    report(progress)
            if state in _ENDED:
                return state
            self._pause(5.0)


def make(engine: Engine, artifacts: ArtifactStore, target: Target, project: str) -> KubeflowRunner:
    """Return the runner on Kubeflow Pipelines: the entry point `kubeflow`; runs are in the project's experiment."""
    return KubeflowRunner(engine, artifacts, target, project)


def _named(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


@contextlib.contextmanager
def _spoken(address: str) -> Iterator[None]:
    """Keep the client's links off the standard output, and say in one sentence what goes wrong with it."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except ImportError as error:
        raise UsageError("runner 'kubeflow' needs its SDK: pip install 'everloop[kubeflow]'") from error
    except Exception as error:
        kind = type(error).__name__
        if kind not in ("ApiException", "MaxRetryError", "NewConnectionError", "LocationParseError"):
            raise
        told = str(getattr(error, "reason", None) or error).splitlines()[0]
        raise SystemError_(f"Kubeflow Pipelines at {address} does not answer as it should: {told}") from error
