"""Crashes between any two calls, and what the answers of a tracking server mean (a real one: tests/loop)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import ErrorCode
from tests.shippers.sites import mend, spoil, tracked_project

from everloop.errors import CheckError
from everloop.loop.asking import ask
from everloop.loop.commands import PROMOTE, RETRAIN
from everloop.loop.tracking import mlflow_url, shippers
from everloop.loop.workspace import Workspace, opened
from everloop.shippers import RefusedError, UnreachableError, drain
from everloop.shippers.mlflow import _translated


class Killed(BaseException):
    """The process ended here."""


class Crashing:
    """An MLflow client whose process is killed once so many calls have reached the server."""

    def __init__(self, client: Any) -> None:
        self.client, self.left = client, 10**9
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            found = getattr(self.client, name)(*args, **kwargs)
            self.calls[name] += 1
            self.left -= 1
            if self.left == 0:
                raise Killed
            return found

        return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions, the second one promoted, and between them a retraining that failed."""
    folder = tracked_project(tmp_path_factory.mktemp("mlflow") / "project", 'mlflow = "local"\ntensorboard = false')
    ask(folder, RETRAIN, {"reason": "the first"})
    spoil(folder)
    with pytest.raises(CheckError, match="no such thing"):
        ask(folder, RETRAIN, {"reason": "it fails"})
    mend(folder)
    ask(folder, RETRAIN, {"reason": "the second"})
    ask(folder, PROMOTE, {"version": "v2", "reason": "it is better"})
    return folder


def everything(workspace: Workspace) -> dict[str, Any]:
    """Return all that stands in the project's MLflow, without the ids that it gave."""
    client = MlflowClient(mlflow_url(workspace), mlflow_url(workspace))
    experiment = client.get_experiment_by_name("toy")
    runs = []
    for run in client.search_runs([experiment.experiment_id]):
        id = run.info.run_id
        history = {name: [(m.step, m.value) for m in client.get_metric_history(id, name)] for name in run.data.metrics}
        files = sorted(f.path for place in ("bundle", "plots") for f in client.list_artifacts(id, place))
        data = [d.dataset.name for d in run.inputs.dataset_inputs]
        runs.append((run.info.status, run.data.params, run.data.tags, history, files, data))
    versions = [(v.version, v.tags, v.description) for v in client.search_model_versions("name = 'toy'")]
    return {"runs": runs, "versions": versions, "aliases": client.get_registered_model("toy").aliases}


@pytest.mark.slow
def test_killed_after_every_single_call_nothing_is_doubled_or_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everloop.shippers.mlflow.plots", lambda record: {"plot.png": record.id.encode()})
    with opened(folder) as workspace:
        (shipper,) = shippers(workspace)
        target: Any = shipper._build()
        target._client = crashing = Crashing(target._client)
        kills, allowed, before = 0, 1, -1
        while True:
            position = shipper.outbox.committed()
            allowed, before = (allowed + 1 if position == before else 1), position
            crashing.left = allowed
            try:
                drain(shipper.outbox, target, lambda entry, error: pytest.fail(f"{entry}: {error}"))
                break
            except Killed:
                kills += 1
        assert kills > 40
        assert {"create_run", "log_batch", "log_artifacts", "create_model_version", "set_terminated"} <= set(
            crashing.calls
        )
        found = everything(workspace)
        assert Counter(status for status, *_ in found["runs"]) == {"FINISHED": 2, "FAILED": 1}
        assert [tags["everloop.version"] for _, tags, _ in found["versions"]] == ["v2", "v1"]
        assert [tags["everloop.stage"] for _, tags, _ in found["versions"]] == ["production", "archived"]
        assert found["aliases"] == {"champion": 2}
        failed = next(run for run in found["runs"] if run[0] == "FAILED")
        assert "no such thing" in failed[2]["everloop.error"]
        for run in found["runs"]:
            for name, history in run[3].items():
                assert len({step for step, _ in history}) == len(history), name
        shipper.outbox.restart()
        crashing.left = 10**9
        drain(shipper.outbox, target, lambda entry, error: pytest.fail(f"{entry}: {error}"))
        assert everything(workspace) == found


def http(status: int) -> requests.HTTPError:
    answer = requests.Response()
    answer.status_code = status
    return requests.HTTPError("put failed", response=answer)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MlflowException("API request failed with exception Connection refused"), UnreachableError),
        (MlflowException("busy", error_code=ErrorCode.Value("TEMPORARILY_UNAVAILABLE")), UnreachableError),
        (MlflowException("slow down", error_code=ErrorCode.Value("REQUEST_LIMIT_EXCEEDED")), UnreachableError),
        (MlflowException("who?", error_code=ErrorCode.Value("UNAUTHENTICATED")), UnreachableError),
        (MlflowException("not you", error_code=ErrorCode.Value("PERMISSION_DENIED")), UnreachableError),
        (MlflowException("another server", error_code=ErrorCode.Value("ENDPOINT_NOT_FOUND")), UnreachableError),
        (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "a name"}), RefusedError),
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "deleted"}), RefusedError),
        (requests.ConnectionError("refused"), UnreachableError),
        (requests.ReadTimeout("slow"), UnreachableError),
        (http(503), UnreachableError),
        (http(429), UnreachableError),
        (http(400), RefusedError),
        (OSError(28, "No space left on device"), UnreachableError),
    ],
    ids=str,
)
def test_what_an_error_means(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind), _translated("http://tracking"):
        raise error
