"""A real MLflow server reads what a project wrote: after it was down, with what was promoted, beside `everloop up`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tests.shippers.sites import answers, free_port, mlflow_server, spoil, tracked_project

from everloop.errors import EverloopError, SystemError_
from everloop.inference import judged_rows
from everloop.loop.asking import ask
from everloop.loop.commands import PROMOTE, RETRAIN
from everloop.loop.lease import lease
from everloop.loop.tracking import read_record, run_tracking, shippers, tensorboard_place, tracked
from everloop.loop.workspace import opened


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, port: int) -> Path:
    """A project with one version, while its tracking server was down."""
    place = tmp_path_factory.mktemp("tracked")
    folder = tracked_project(place / "project", f'mlflow = "http://127.0.0.1:{port}"')
    began = time.monotonic()
    ask(folder, RETRAIN, {"reason": "the first"})
    with pytest.raises(SystemError_, match=r"^7 changes wait for MLflow \(http://\S+ does not answer\): they are"):
        run_tracking(folder, once=True, patience=1.5)
    assert time.monotonic() - began < 60
    with opened(folder) as workspace:
        assert len(list(tensorboard_place(workspace).glob("toy/*/events*"))) == 1  # TensorBoard did not wait for it
    return folder


@pytest.fixture(scope="module")
def client(folder: Path, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    with mlflow_server(tmp_path_factory.mktemp("server"), port) as url:
        run_tracking(folder, once=True)
        yield MlflowClient(url, url)


def aliases(client: MlflowClient) -> dict[str, int]:
    return {name: int(version) for name, version in client.get_registered_model("toy").aliases.items()}


def runs(client: MlflowClient) -> list[Run]:
    return list(client.search_runs([client.get_experiment_by_name("toy").experiment_id]))


@pytest.mark.slow
def test_what_waited_while_the_server_was_down_is_all_there(folder: Path, client: MlflowClient) -> None:
    run = next(r for r in runs(client) if r.data.tags["everloop.decision"] == "d-1")
    with opened(folder) as workspace:
        record = read_record(workspace, run.data.tags["everloop.run"])
    assert record is not None
    assert record.bundle is not None
    assert (run.info.status, run.info.run_name) == ("FINISHED", "d-1 v1")
    assert run.info.start_time == run.info.end_time == round(record.started * 1000)
    assert run.data.params == record.params
    assert {name: run.data.metrics[name] for name in record.metrics} == record.metrics
    assert record.tags.items() <= run.data.tags.items()
    for curve in record.curves:
        told = {m.step: m.value for m in client.get_metric_history(run.info.run_id, curve.name)}
        assert told == dict(zip(curve.steps, curve.values, strict=True))
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("data-1", record.data.sha256[:36] if record.data else "")
    graph = Path(client.download_artifacts(run.info.run_id, "bundle/model.onnx"))
    assert graph.read_bytes() == record.bundle.files["model.onnx"]
    model = mlflow.pyfunc.load_model(str(Path(client.download_artifacts(run.info.run_id, "model"))))
    columns = [c.name for c in record.bundle.manifest.inputs]
    assert model.metadata.signature.inputs.input_names() == columns
    rows = judged_rows(record.bundle)
    found = model.predict({name: rows.inputs[name].reshape(-1, 1) for name in columns})
    assert found["prediction"].shape == (len(rows.times), 1)
    plot = Path(client.download_artifacts(run.info.run_id, "plots/training_curve.png"))
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_versions_and_aliases_follow_the_store(folder: Path, client: MlflowClient) -> None:
    assert aliases(client) == {"champion": 1}
    told = list[str]()
    with tracked(folder, told.append):
        ask(folder, RETRAIN, {"reason": "the second"})
    assert aliases(client) == {"champion": 1, "candidate": 2}
    ask(folder, PROMOTE, {"version": "v2", "reason": "it is better"})
    run_tracking(folder, once=True)
    assert aliases(client) == {"champion": 2}
    assert told == []
    versions = {int(v.version): v for v in client.search_model_versions("name = 'toy'")}
    assert {v.tags["everloop.version"]: v.tags["everloop.stage"] for v in versions.values()} == {
        "v1": "archived",
        "v2": "production",
    }
    assert versions[2].tags["everloop.gate"] == "pass"
    run = client.get_run(versions[2].run_id)
    assert run.data.tags["everloop.version"] == "v2"
    assert versions[2].source == f"{run.info.artifact_uri}/model"


@pytest.mark.slow
def test_the_whole_history_again_doubles_nothing(folder: Path, client: MlflowClient) -> None:
    before = Counter(r.data.tags["everloop.run"] for r in runs(client))
    with opened(folder) as workspace:
        for shipper in shippers(workspace):
            shipper.outbox.restart()
    run_tracking(folder, once=True)
    assert Counter(r.data.tags["everloop.run"] for r in runs(client)) == before
    assert set(before.values()) == {1}
    assert len(client.search_model_versions("name = 'toy'")) == 2
    assert aliases(client) == {"champion": 2}


@pytest.mark.slow
def test_one_process_a_project_and_another_one_waits_for_it(folder: Path, client: MlflowClient) -> None:
    assert client.get_registered_model("toy")
    with opened(folder) as workspace:
        shippers(workspace)[0].outbox.restart()
    with (
        lease(folder / ".everloop" / "tracking.lease"),
        pytest.raises(SystemError_, match="changes wait for TensorBoard"),
    ):
        run_tracking(folder, once=True, patience=0.2)
    run_tracking(folder, once=True)


def test_nothing_to_track_is_no_work(tmp_path: Path) -> None:
    folder = tracked_project(tmp_path / "project", "mlflow = false\ntensorboard = false")
    run_tracking(folder, once=True, patience=0.0)
    with tracked(folder, pytest.fail):
        pass
    assert not (folder / ".everloop" / "logs").exists()


def test_a_server_that_is_down_is_not_waited_for(tmp_path: Path) -> None:
    folder = tracked_project(tmp_path / "project", f'mlflow = "http://127.0.0.1:{free_port()}"')
    spoil(folder)
    told = list[str]()
    with pytest.raises(EverloopError, match="no such thing"), tracked(folder, told.append):
        ask(folder, RETRAIN, {"reason": "it fails"})
    assert [line.partition(" (")[0] for line in told] == ["4 changes wait for MLflow"]


def test_neither_import_waits_for_mlflow() -> None:
    code = (
        "import sys, everloop.loop.tracking, everloop.loop.up; assert not {'mlflow', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_up_shows_it_within_seconds_and_ends(tmp_path: Path) -> None:
    ui, port = free_port(), free_port()
    folder = tracked_project(tmp_path / "project", f"ui_port = {ui}")
    command = [sys.executable, "-m", "everloop.cli", "up", "--project", str(folder), "--port", str(port)]
    with (tmp_path / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        answers(f"http://127.0.0.1:{ui}/health", process)
        deadline = time.monotonic() + 60
        asked = {"name": "toy", "alias": "champion"}
        registry = httpx.Client(base_url=f"http://127.0.0.1:{ui}/api/2.0/mlflow/registered-models", verify=False)
        while (told := registry.get("/alias", params=asked)).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        registry.close()
        assert told.json()["model_version"]["version"] == "1"
        second = tracked_project(tmp_path / "second", f"ui_port = {ui}")
        with opened(second) as workspace:
            from everloop.loop.up import companions

            beside, lines = companions(workspace, tmp_path)
        assert "tracking" in [c.name for c in beside]
        assert "mlflow" not in [c.name for c in beside]
        assert f"mlflow      not shown: port {ui} is taken ([tracking] ui_port names another)" in lines
    finally:
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.wait(60)
    assert time.monotonic() - began < 15
    written = (tmp_path / "up.log").read_text()
    assert process.returncode == 0, written
    assert f"mlflow      http://127.0.0.1:{ui}" in written
    assert "started again" not in written
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{ui}/health")
