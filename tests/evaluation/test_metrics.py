from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from everloop.evaluation import METRICS, losses, main_metric, score

Floats = NDArray[np.float64]


@st.composite
def regressions(draw: st.DrawFn) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(2, 200))
    truth = rng.normal(draw(st.floats(-1e3, 1e3)), draw(st.floats(0.1, 1e3)), rows)
    return truth, truth + rng.normal(size=rows) * draw(st.floats(0, 1e3))


@st.composite
def classifications(draw: st.DrawFn) -> tuple[NDArray[np.int64], Floats]:
    """Class indices, and probabilities of few different values, so that ranks tie."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, classes = draw(st.integers(1, 200)), draw(st.integers(2, 5))
    weights = rng.integers(1, draw(st.integers(2, 50)), size=(rows, classes)).astype(np.float64)
    return rng.integers(0, classes, rows), weights / weights.sum(1, keepdims=True)


@given(regressions())
@settings(max_examples=100)
def test_regression_metrics_are_scikit_learns(drawn: tuple[Floats, Floats]) -> None:
    truth, answers = drawn
    found = score("regression", truth, answers)
    wanted = {
        "rmse": sk.root_mean_squared_error(truth, answers),
        "mae": sk.mean_absolute_error(truth, answers),
        "r2": sk.r2_score(truth, answers),
        "bias": float(answers.mean() - truth.mean()),
    }
    assert found == pytest.approx(wanted, rel=1e-7, abs=1e-7)


@given(classifications())
@settings(max_examples=100)
def test_classification_metrics_are_scikit_learns(drawn: tuple[NDArray[np.int64], Floats]) -> None:
    truth, answers = drawn
    classes = list(range(answers.shape[1]))
    wanted: dict[str, Any] = {
        "log_loss": sk.log_loss(truth, answers, labels=classes),
        "accuracy": sk.accuracy_score(truth, answers.argmax(1)),
        "brier": sk.brier_score_loss(truth, answers, labels=classes, scale_by_half=False),
        "f1": sk.f1_score(truth, answers.argmax(1), average="macro"),
    }
    if len(classes) == 2 and len(set(truth.tolist())) == 2:
        wanted["roc_auc"] = sk.roc_auc_score(truth, answers[:, 1])
    assert score("classification", truth, answers) == pytest.approx(wanted)


@given(st.one_of(regressions(), classifications()))
@settings(max_examples=100)
def test_the_main_metric_is_that_of_the_losses(drawn: tuple[NDArray[Any], Floats]) -> None:
    truth, answers = drawn
    if answers.ndim == 1:
        mean = float(np.sqrt(losses("regression", truth, answers).mean()))
        assert METRICS[main_metric("regression")](truth, answers) == pytest.approx(mean)
    else:
        mean = float(losses("classification", truth, answers).mean())
        assert METRICS[main_metric("classification")](truth, answers) == pytest.approx(mean)


def test_a_certain_mistake_costs_much_but_not_all() -> None:
    answers = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert losses("classification", np.array([0, 1]), answers).tolist() == pytest.approx([0.0, -np.log(1e-6)])


def test_classes_given_as_floats_count_as_indices() -> None:
    answers = np.array([[0.3, 0.7], [0.9, 0.1]])
    assert losses("classification", np.array([1.0, 0.0]), answers).tolist() == pytest.approx(-np.log([0.7, 0.9]))
    assert score("classification", np.array([1.0, 0.0]), answers)["accuracy"] == 1.0


def test_what_the_rows_do_not_tell_is_left_out() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = score("regression", np.array([2.0, 2.0]), np.array([1.0, 3.0]))
        one_class = score("classification", np.array([1, 1]), np.array([[0.3, 0.7], [0.9, 0.1]]))
        three = score("classification", np.array([0, 1]), np.array([[0.3, 0.3, 0.4], [0.8, 0.1, 0.1]]))
        none = [score("regression", np.empty(0), np.empty(0)), score("classification", np.empty(0), np.empty((0, 2)))]
    assert sorted(same) == ["bias", "mae", "rmse"]
    assert sorted(one_class) == sorted(three) == ["accuracy", "brier", "f1", "log_loss"]
    assert none == [{}, {}]
