"""An estimator that learns is told from one that cannot, whatever holds it back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.training.tables import made

from everloop.evaluation import losses
from everloop.training import Problem
from everloop.training.learning import by_heart, learned

ROWS, SCHEMA = made()
NUMBERS = ("a", "flag")


def problem(estimator: Any, task: Any = "regression", classes: tuple[Any, ...] = ()) -> Problem:
    return Problem(task, NUMBERS, "y", classes, lambda: estimator, lambda t, a: losses(task, t, a), 86400.0)


def test_loss_falls_by_rounds_and_a_few_rows_are_learnt_by_heart() -> None:
    boosted = problem(LGBMRegressor(n_estimators=60, n_jobs=1, verbose=-1))
    found = learned(boosted, ROWS)
    assert found.rows == 300
    assert found.first is not None
    assert found.last is not None
    assert found.loss < 0.5 * found.constant
    assert found.last < found.first
    few = by_heart(boosted, ROWS, numbers=False)
    assert few.rows == 8
    assert few.loss < 0.01 * few.constant


def test_a_plane_meets_as_many_rows_as_it_can() -> None:
    found = by_heart(problem(make_pipeline(StandardScaler(), LinearRegression())), ROWS, numbers=True)
    assert found.rows == 3
    assert found.loss == pytest.approx(0.0, abs=1e-12)


def test_classes_are_learnt_by_turns() -> None:
    rows, _ = made(("no", "yes"))
    boosted = problem(LGBMClassifier(n_estimators=60, n_jobs=1, verbose=-1), "classification", ("no", "yes"))
    few = by_heart(boosted, rows, numbers=False)
    assert few.rows == 8
    assert few.constant == pytest.approx(np.log(2))
    assert few.loss < 0.1 * few.constant
    assert learned(boosted, rows).loss < 0.7 * learned(boosted, rows).constant


@pytest.mark.parametrize("estimator", [DummyRegressor(), Ridge(alpha=1e6)], ids=["constant", "held back"])
def test_one_that_cannot_learn_stays_at_the_constant(estimator: Any) -> None:
    few = by_heart(problem(estimator), ROWS, numbers=True)
    assert few.loss > 0.9 * few.constant
    assert learned(problem(DummyRegressor()), ROWS).loss == pytest.approx(
        learned(problem(DummyRegressor()), ROWS).constant
    )
