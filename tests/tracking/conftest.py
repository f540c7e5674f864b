"""A regression and a classification project with one retraining each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.shippers.sites import tracked_project

from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.tracking import read_record
from everloop.loop.workspace import opened
from everloop.tracking import RunRecord
from everloop.types import Task

Trained = Callable[[Task], RunRecord]


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    known: dict[str, RunRecord] = {}

    def record(task: Task) -> RunRecord:
        if task not in known:
            known[task] = _record(tmp_path_factory.mktemp(task) / "project", task)
        return known[task]

    return record


def _record(folder: Path, task: Task) -> RunRecord:
    tracked_project(folder, "mlflow = false", task)
    ask(folder, RETRAIN, {"reason": "a test"})
    with opened(folder) as workspace:
        record = read_record(workspace, next(p.name for p in workspace.bundles.iterdir()))
    assert record is not None
    return record
