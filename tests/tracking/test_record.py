from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.projects import write_project
from tests.shippers.sites import spoil, tracked_project

from everloop import store as tables
from everloop.errors import EverloopError
from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.tracking import read_record
from everloop.loop.workspace import opened
from everloop.tracking import RunRecord
from everloop.training import AUTO
from everloop.types import Task

Trained = Callable[[Task], RunRecord]


def test_a_retraining_tells_all_that_it_came_from_and_came_to(trained: Trained) -> None:
    record = trained("regression")
    assert (record.model, record.pipeline, record.status, record.title) == ("toy", "retrain", "finished", "d-1 v1")
    assert record.finished == record.started > 1e9
    expected = {
        "model": "toy.model:regression", "seed": "0", "window": "auto", "window.chosen": "everything",
        "horizon_days": "7.0", "block_days": "1.0", "gate.beats_champion": "true",
        "estimator": "LGBMRegressor", "estimator.n_estimators": "12", "estimator.random_state": "0",
    }  # fmt: skip
    assert expected.items() <= record.params.items()
    assert record.params["window.reason"] == "everything: the first version; windows compete from the next one on"
    told = {name: value for name, value in record.metrics.items() if not name.startswith("system/")}
    assert {"rmse", "mae", "r2", "bias", "rows", "window.everything.loss"} == set(told)
    assert record.metrics["system/train.cpu_seconds"] > 0
    assert record.metrics["system/train.seconds"] > 0
    assert 20 < record.metrics["system/train.peak_memory_megabytes"] < 20_000
    assert {c.name for c in record.curves} == {"training_loss", "out_of_time_loss", "out_of_time_loss_by_block"}
    assert record.curves[0].steps == tuple(range(1, 13))
    tags = {
        "everloop.run": record.id, "everloop.project": "toy", "everloop.decision": "d-1", "everloop.reason": "a test",
        "everloop.data_version": "data-1", "everloop.version": "v1", "everloop.gate": "pass",
    }  # fmt: skip
    assert tags.items() <= record.tags.items()
    assert {"everloop.event", "everloop.gate.reason", "everloop.with.lightgbm"} <= set(record.tags)
    assert record.data is not None
    assert (record.data.id, record.data.rows, len(record.data.sha256)) == ("data-1", 900, 64)
    assert record.bundle is not None
    assert "model.onnx" in record.bundle.files


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_judged_rows_are_those_that_the_metrics_are_of(trained: Trained, task: Task) -> None:
    record = trained(task)
    judged = record.judged
    assert judged is not None
    assert (judged.task, judged.target) == (task, "y")
    assert (np.diff(judged.times) >= 0).all()
    if task == "regression":
        assert np.sqrt(np.mean((judged.truth - judged.answers) ** 2)) == pytest.approx(record.metrics["rmse"])
    else:
        assert judged.classes == ("no", "yes")
        assert np.mean(judged.answers.argmax(1) == judged.truth) == pytest.approx(record.metrics["accuracy"])


@pytest.mark.slow
def test_where_windows_competed_each_of_their_losses_by_block_is_a_curve(tmp_path: Path) -> None:
    folder = tracked_project(tmp_path / "project", "mlflow = false")
    for _ in range(2):
        ask(folder, RETRAIN, {"reason": "a test"})
    with opened(folder) as workspace:
        records = [read_record(workspace, r["id"]) for r in workspace.store.rows(_runs()) if r["pipeline"] == "retrain"]
    record = next(r for r in records if r is not None and r.title.endswith("v2"))
    lost = {c.name.removesuffix(".loss_by_block"): c.values for c in record.curves if c.name.endswith(".loss_by_block")}
    assert {f"{name}.loss" for name in lost} == {name for name in record.metrics if name.endswith(".loss")}
    assert len(lost) == len(AUTO)
    for name, values in lost.items():
        assert np.mean(values) == pytest.approx(record.metrics[f"{name}.loss"])


def test_a_run_that_failed_says_why_and_an_unknown_one_is_none(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    spoil(folder)
    with pytest.raises(EverloopError, match="no such thing"):
        ask(folder, RETRAIN, {"reason": "a test"})
    with opened(folder) as workspace:
        rows = workspace.store.rows(_runs())
        record = read_record(workspace, next(r["id"] for r in rows if r["pipeline"] == "retrain"))
        assert read_record(workspace, "nothing") is None
    assert record is not None
    assert record.status == "failed"
    assert "no such thing" in record.tags["everloop.error"]
    assert record.params["seed"] == "0"
    assert (record.metrics, record.bundle, record.judged) == ({}, None, None)


def test_data_that_cannot_be_read_is_a_failed_retraining(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    (folder / "data" / "history.csv").write_text("a,b\n1,2\n")
    with pytest.raises(EverloopError):
        ask(folder, RETRAIN, {"reason": "a test"})
    with opened(folder) as workspace:
        (row,) = workspace.store.rows(_runs())
        record = read_record(workspace, row["id"].removesuffix("-data"))
    assert record is not None
    assert (record.id, record.status, record.title) == (row["id"].removesuffix("-data"), "failed", "d-1")
    assert record.tags["everloop.error"]


def _runs() -> sa.Select[Any]:
    return sa.select(tables.run)
