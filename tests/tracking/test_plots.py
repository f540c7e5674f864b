from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from everloop.tracking import RunRecord, plots
from everloop.types import Task

Trained = Callable[[Task], RunRecord]
BY_TASK = {
    "regression": {"answers_over_time.png", "residuals_over_time.png", "truth_against_answers.png"},
    "classification": {"reliability.png", "confusion_matrix.png", "loss_over_time.png"},
}


def image(data: bytes) -> NDArray[np.float32]:
    found: NDArray[np.float32] = imread(io.BytesIO(data))
    return found


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_each_task_has_its_pictures(trained: Trained, task: Task) -> None:
    found = plots(trained(task))
    assert set(found) == BY_TASK[task] | {"training_curve.png", "window_choice.png"}
    for name, data in found.items():
        pixels = image(data)
        assert min(pixels.shape[:2]) > 150, name
        assert 0.005 < (pixels[..., :3].min(-1) < 0.9).mean() < 0.7, name  # neither empty nor full


def test_what_a_run_does_not_tell_is_not_drawn(trained: Trained) -> None:
    record = msgspec.structs.replace(trained("regression"), curves=(), scores={}, judged=None)
    assert plots(record) == {}


def test_several_classes_and_a_choice_with_errors(trained: Trained) -> None:
    record = trained("classification")
    rng = np.random.default_rng(0)
    assert record.judged is not None
    truth = rng.integers(0, 4, 200)
    answers = rng.dirichlet(np.ones(4), 200)
    many = msgspec.structs.replace(
        record.judged, classes=("a", "b", "c", "a very long name of a class"), truth=truth, answers=answers,
        times=np.arange(200) * 3600.0,
    )  # fmt: skip
    scores = {"everything": {"loss": 0.7}, "team": {"loss": 0.5, "gain": 0.2, "standard_error": 0.05, "z": 4.0}}
    found = plots(msgspec.structs.replace(record, judged=many, scores=scores, chosen="team"))
    assert {"reliability.png", "confusion_matrix.png", "window_choice.png"} <= set(found)
    assert found["window_choice.png"] != plots(record)["window_choice.png"]


def test_no_state_of_pyplot_is_touched() -> None:
    code = (
        "import sys; from everloop.tracking import RunRecord, plots;"
        "r = RunRecord('r', 'm', 'retrain', 'finished', 0.0, 1.0, 't', scores={'a': {'loss': 1.0}});"
        "assert set(plots(r)) == {'window_choice.png'}; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
