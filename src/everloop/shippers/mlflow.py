"""MLflow: runs, versions and aliases of the store, brought to one tracking server or a local database.

Everything is found by a tag before it is made, so an entry may come again after a crash at any point.
"""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.exceptions
import msgspec
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag, ViewType
from mlflow.tracking import MlflowClient
from requests.exceptions import ConnectionError as RequestConnectionError
from requests.exceptions import RequestException

from everloop.errors import EverloopError
from everloop.shippers.mlflow_model import GRAPH, write_model
from everloop.shippers.mlflow_tuning import TuningRuns
from everloop.shippers.outbox import Entry, RefusedError, UnreachableError
from everloop.tracking import RunRecord, plots
from everloop.tracking.record import DATA_RUN

__all__ = ["MlflowTarget", "Versions", "create_database"]

_log = logging.getLogger("everloop.shippers")

STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}
RUN, VERSION = "everloop.run", "everloop.version"
LONGEST, BATCH = 5000, 100
LATER = {401, 403, 407, 408, 429}
"""Refusals that are not about the content: a person mends them, or time does."""


def create_database(path: Path) -> None:
    """Make MLflow's database, whole or not at all; one that is there stays.

    Its tables come in dozens of migrations: a process killed among them, or two at once, leave one that nothing opens.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with _translated(str(path)):
        MlflowClient(f"sqlite:///{partial}", f"sqlite:///{partial}").search_experiments(max_results=1)
        partial.rename(path)


class Versions(msgspec.Struct, frozen=True):
    """What the registry of the store says now: `row(model, id)` of a version, `alias(model, name)` or None."""

    row: Callable[[str, str], dict[str, Any]]
    alias: Callable[[str, str], str | None]


class MlflowTarget:
    """One MLflow, brought up to date entry by entry."""

    kinds = frozenset({"run", "model_version", "alias", "tuning", "trial"})

    def __init__(
        self,
        url: str,
        project: str,
        read: Callable[[str], RunRecord | None],
        versions: Versions,
        artifacts: str | None = None,
    ) -> None:
        """`read` returns what a run records; `artifacts` is where a new experiment's files go, if not to its server."""
        self._url, self._project, self._artifacts = url, project, artifacts
        self._read, self._versions = read, versions
        self._client: Any = MlflowClient(tracking_uri=url, registry_uri=url)

    def take(self, entry: Entry) -> None:
        """Bring one change there: a run, a version, an alias, as the store has it now."""
        with _translated(self._url):
            if entry.kind == "run":
                self._take_run(entry.payload)
            elif entry.kind == "model_version":
                self._take_version(entry.payload["model"], entry.payload["id"])
            elif entry.kind == "tuning":
                self._tunings().take_tuning(entry.payload)
            elif entry.kind == "trial":
                self._tunings().take_trial(entry.payload)
            else:
                self._take_alias(entry.payload["model"], entry.payload["name"])

    def _tunings(self) -> TuningRuns:
        return TuningRuns(self._client, self._experiment, self._found)

    def _take_run(self, told: dict[str, Any]) -> None:
        ingest = told["pipeline"] == "ingest"
        if ingest and told["status"] == "finished":
            return  # the retraining that it belongs to says the rest
        self._run(told["id"].removesuffix(DATA_RUN) if ingest else told["id"])

    def _run(self, id: str) -> Any:
        """Return the MLflow run of ours, as the store has it now; None where the store does not know it."""
        record = self._read(id)
        if record is None:
            return None
        run = self._found_run(id) or self._client.create_run(
            self._experiment(), start_time=_ms(record.started), run_name=record.title, tags=_tags(record)
        )
        if run.info.status != STATUS[record.status]:
            if record.status == "running":
                self._client.update_run(run.info.run_id, status=STATUS["running"])
            else:
                self._fill(run.info.run_id, record)
                self._client.set_terminated(run.info.run_id, STATUS[record.status], _ms(record.finished))
        return run

    def _found_run(self, id: str) -> Any:
        return self._found(RUN, id)

    def _found(self, tag: str, id: str) -> Any:
        query = f"tags.`{tag}` = '{id}'"
        found = list(self._client.search_runs([self._experiment()], query, ViewType.ALL, max_results=10))
        kept = min(found, key=lambda run: run.info.run_id) if found else None
        for run in found:  # an answer that came too late for us
            if run is not kept and run.info.lifecycle_stage == "active":
                self._client.delete_run(run.info.run_id)
        if kept is not None and kept.info.lifecycle_stage != "active":
            raise RefusedError(f"run {id} was deleted in MLflow")
        return kept

    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(self._project)
        if known is not None:
            return str(known.experiment_id)
        try:
            return str(self._client.create_experiment(self._project, artifact_location=self._artifacts))
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return str(self._client.get_experiment_by_name(self._project).experiment_id)

    def _fill(self, run: str, record: RunRecord) -> None:
        """Log all that a run records; its status says afterwards that all of it is there."""
        time = _ms(record.finished)
        metrics = [Metric(name, value, time, 0) for name, value in record.metrics.items()]
        for curve in record.curves:
            metrics += [Metric(curve.name, v, time, s) for s, v in zip(curve.steps, curve.values, strict=True)]
        params = [Param(name, value[:LONGEST]) for name, value in record.params.items()]
        tags = [RunTag(name, value) for name, value in _tags(record).items()]
        for start in range(0, max(len(metrics), len(params), len(tags)), BATCH):
            batch = slice(start, start + BATCH)
            self._client.log_batch(run, metrics=metrics[batch], params=params[batch], tags=tags[batch])
        if record.data is not None:
            self._client.log_inputs(run, datasets=[DatasetInput(_dataset(record))])
        if record.bundle is not None:
            self._client.log_artifacts(run, str(record.bundle.path), "bundle")
        if record.bundle is not None and GRAPH in record.bundle.files:
            with tempfile.TemporaryDirectory(prefix="everloop-model-") as folder:
                write_model(record.bundle.files[GRAPH], Path(folder) / "model")
                self._client.log_artifacts(run, str(Path(folder) / "model"), "model")
        with tempfile.TemporaryDirectory(prefix="everloop-plots-") as folder:
            for name, image in _plots(record).items():
                (Path(folder) / name).write_bytes(image)
            self._client.log_artifacts(run, folder, "plots")

    def _take_version(self, model: str, id: str) -> Any:
        """Return the MLflow version of ours, with its stage and gate as the store has them now."""
        row = self._versions.row(model, id)
        known = self._found_version(model, id) or self._new_version(model, row)
        for name, value in _version_tags(row).items():
            if known.tags.get(name) != value:
                self._client.set_model_version_tag(model, known.version, name, value)
        return known

    def _new_version(self, model: str, row: dict[str, Any]) -> Any:
        run, record = self._run(row["run"]), self._read(row["run"])
        if run is None or record is None:
            raise RefusedError(f"the store does not know run {row['run']} of {row['id']}")
        tags = [RunTag(name, value) for name, value in _tags(record).items()]
        self._client.log_batch(run.info.run_id, tags=[*tags, RunTag("mlflow.runName", record.title)])
        answers = "model" if record.bundle is not None and GRAPH in record.bundle.files else "bundle"
        self._model(model)
        return self._client.create_model_version(
            model,
            source=f"{run.info.artifact_uri}/{answers}",
            run_id=run.info.run_id,
            tags=_version_tags(row),
            description=str(row["window"].get("reason", "")),
            await_creation_for=0,
        )

    def _found_version(self, model: str, id: str) -> Any:
        found = self._client.search_model_versions(f"name = '{model}' and tags.`{VERSION}` = '{id}'")
        return min(found, key=lambda version: int(version.version)) if found else None

    def _model(self, name: str) -> None:
        try:
            self._client.create_registered_model(name, tags={"everloop.project": self._project})
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _take_alias(self, model: str, name: str) -> None:
        version = self._versions.alias(model, name)
        if version is None:
            self._client.delete_registered_model_alias(model, name)
        else:
            self._client.set_registered_model_alias(model, name, self._take_version(model, version).version)


def _plots(record: RunRecord) -> dict[str, bytes]:
    try:
        return plots(record)
    except Exception:
        _log.exception("run %s has no plots", record.id)
        return {}


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    """Tell what may work later from what is refused for ever."""
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        known = error.error_code != "ENDPOINT_NOT_FOUND"
        raise _meant(url, error.get_http_status_code() if known else 503, error) from error
    except RequestException as error:
        raise _meant(url, error.response.status_code if error.response is not None else 503, error) from error
    except EverloopError:
        raise
    except OSError as error:
        raise UnreachableError(f"{_safe(url)}: {error.strerror or error}") from error
    except Exception as error:  # of whatever keeps its files
        raise UnreachableError(f"{_safe(url)}: {type(error).__name__}: {_line(error)}") from error


def _meant(url: str, status: int, error: Exception) -> Exception:
    told = _line(error)
    if 400 <= status < 500 and status not in LATER:
        return RefusedError(f"MLflow refuses it: {told}")
    if "failed with exception" in told or isinstance(error, RequestConnectionError):
        return UnreachableError(f"{_safe(url)} does not answer")
    return UnreachableError(f"{_safe(url)}: {told}")


def _safe(url: str) -> str:
    """Return a URL without the password that it may hold."""
    return re.sub(r"//[^/@]*@", "//", url)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _ms(time: float | None) -> int:
    return round((time or 0.0) * 1000)


def _tags(record: RunRecord) -> dict[str, str]:
    tags = record.tags | {"mlflow.source.type": "JOB", "mlflow.source.name": record.pipeline}
    known = (("everloop.commit", "mlflow.source.git.commit"), ("everloop.reason", "mlflow.note.content"))
    tags |= {theirs: record.tags[ours] for ours, theirs in known if ours in record.tags}
    return {name: value[:LONGEST] for name, value in tags.items()}


def _version_tags(row: dict[str, Any]) -> dict[str, str]:
    verdict = row["verdict"] or {}
    found = {
        VERSION: row["id"],
        "everloop.stage": row["stage"],
        "everloop.gate": verdict.get("outcome"),
        "everloop.gate.reason": verdict.get("reason"),
        "everloop.sha256": row["sha256"],
        "everloop.data_version": row["data_version"],
        "everloop.commit": row["commit"],
    }
    return {name: str(value)[:LONGEST] for name, value in found.items() if value}


def _dataset(record: RunRecord) -> Dataset:
    data = record.data
    assert data is not None
    source = msgspec.json.encode({"origin": data.origin, "data_version": data.id, "sha256": data.sha256}).decode()
    profile = msgspec.json.encode({"num_rows": data.rows, "start": data.start, "end": data.end}).decode()
    return Dataset(data.id, data.sha256[:36], "everloop", source, None, profile)
