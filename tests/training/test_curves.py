from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import ensemble
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from everloop.evaluation import losses
from everloop.training import AUTO, Problem, choose
from everloop.training.curves import POINTS, ROWS, Curves, Watched, curves_of
from everloop.types import Task

DAY = 86400.0
FEATURES = ("a", "b")


def table(task: Task, classes: int = 2, rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=rows), rng.uniform(size=rows)
    y: NDArray[Any] = np.exp(a / 2) + b + rng.uniform(size=rows)
    if task == "classification":
        y = np.array(["no", "so", "yes"])[np.clip((y * classes / 3).astype(int), 0, classes - 1)]
    return pd.DataFrame({"a": a, "b": b, "y": y})


def problem(task: Task, rows: pd.DataFrame, build: Any = None) -> Problem:
    classes = tuple(sorted(set(rows["y"]))) if task == "classification" else ()
    return Problem(task, FEATURES, "y", classes, build, lambda t, a: losses(task, t, a), 7 * DAY)


def curves(task: Task, estimator: Any, classes: int = 2) -> Curves:
    rows = table(task, classes)
    known, unseen = rows.iloc[:500], rows.iloc[500:]
    fitted = estimator.fit(known[list(FEATURES)], known["y"])
    return curves_of(problem(task, rows), fitted, known, unseen)


BOOSTED: list[tuple[Task, int, Any]] = [
    ("regression", 0, lightgbm.LGBMRegressor(n_estimators=30, verbose=-1, n_jobs=1)),
    ("regression", 0, lightgbm.LGBMRegressor(n_estimators=30, verbose=-1, n_jobs=1, objective="poisson")),
    ("classification", 2, lightgbm.LGBMClassifier(n_estimators=30, verbose=-1, n_jobs=1)),
    ("classification", 3, lightgbm.LGBMClassifier(n_estimators=30, verbose=-1, n_jobs=1)),
    ("regression", 0, ensemble.HistGradientBoostingRegressor(max_iter=30)),
    ("classification", 3, ensemble.HistGradientBoostingClassifier(max_iter=30)),
    ("regression", 0, ensemble.GradientBoostingRegressor(n_estimators=30)),
    ("classification", 2, ensemble.GradientBoostingClassifier(n_estimators=30)),
    ("classification", 2, ensemble.AdaBoostClassifier(n_estimators=30)),
]


@pytest.mark.parametrize(("task", "classes", "estimator"), BOOSTED, ids=lambda v: type(v).__name__)
def test_the_last_point_is_the_loss_of_the_whole_estimator(task: Task, classes: int, estimator: Any) -> None:
    found = curves(task, make_pipeline(StandardScaler().set_output(transform="pandas"), estimator), classes)
    rows = table(task, classes)
    ask = estimator.predict if task == "regression" else estimator.predict_proba
    scaled = StandardScaler().set_output(transform="pandas").fit(rows.iloc[:500][list(FEATURES)])
    for part, values in ((rows.iloc[:500], found.training), (rows.iloc[500:], found.out_of_time)):
        truth = problem(task, rows).truth(part)
        whole = losses(task, truth, ask(scaled.transform(part[list(FEATURES)])).astype(np.float64)).mean()
        assert values[-1] == pytest.approx(float(whole), rel=1e-4)
    assert len(found.rounds) == len(found.training) == len(found.out_of_time) > 5
    assert found.rounds[0] == 1
    assert found.training[-1] < found.training[0]
    assert found.estimator == type(estimator).__name__


def test_rounds_are_thinned_and_agree_with_what_lightgbm_says_at_each() -> None:
    estimator = lightgbm.LGBMRegressor(n_estimators=130, verbose=-1, n_jobs=1, min_child_samples=5)
    found, rows = curves("regression", estimator), table("regression")
    assert len(found.rounds) == POINTS
    assert (found.rounds[0], found.rounds[-1]) == (1, 130)
    for place in (0, 7, 31):
        answers = estimator.predict(rows.iloc[500:][list(FEATURES)], num_iteration=found.rounds[place])
        assert found.out_of_time[place] == pytest.approx(float(((rows["y"].iloc[500:] - answers) ** 2).mean()))


def test_a_perceptron_tells_its_own_training_loss() -> None:
    found = curves("regression", MLPRegressor(hidden_layer_sizes=(4,), max_iter=60, tol=10.0, random_state=0))
    assert found.loss == "the estimator's own loss"
    assert len(found.training) == len(found.rounds) > 5
    assert found.out_of_time == []


def test_what_does_not_learn_in_rounds_has_no_curve_but_its_parameters() -> None:
    found = curves("regression", make_pipeline(StandardScaler(), LinearRegression(fit_intercept=False)))
    assert (found.rounds, found.training, found.out_of_time) == ([], [], [])
    assert found.estimator == "LinearRegression"
    assert found.parameters["fit_intercept"] is False


class Booster:
    """Answers as XGBoost's scikit-learn interface does: the mean, nearer with each round."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"missing": float("nan"), "deep": deep}

    def fit(self, _rows: pd.DataFrame, target: Any) -> Booster:
        self.mean = float(np.mean(target))
        return self

    def get_booster(self) -> Booster:
        return self

    def num_boosted_rounds(self) -> int:
        return 4

    def predict(self, rows: pd.DataFrame, iteration_range: tuple[int, int]) -> NDArray[np.float32]:
        if self.broken:
            raise RuntimeError("not so")
        assert iteration_range[0] == 0
        return np.full(len(rows), self.mean * iteration_range[1] / 4, dtype=np.float32)


def test_xgboost_is_asked_for_ranges_of_rounds() -> None:
    found = curves("regression", Booster())
    assert found.rounds == [1, 2, 3, 4]
    assert found.training == sorted(found.training, reverse=True)
    assert len(found.out_of_time) == 4
    assert found.parameters == {"missing": "nan", "deep": False}


def test_a_function_among_the_parameters_is_told_by_its_name() -> None:
    rows = table("regression")
    told = curves_of(problem("regression", rows), KNeighborsRegressor(weights=table), rows, rows[:0])
    assert told.parameters["weights"] == "table"


def test_an_estimator_that_cannot_be_asked_fails_no_training() -> None:
    assert curves("regression", Booster(broken=True)).rounds == []


def fits(rows: pd.DataFrame, asked: Problem) -> Iterator[tuple[int, int]]:
    for recipes in (AUTO, AUTO[:1]):
        watched = Watched(asked)
        choose(watched.problem, rows, np.arange(len(rows)) * DAY / 12, recipes)
        yield int(watched.rows.index[0]), int(watched.rows.index[-1])


def test_the_newest_fit_on_all_rows_before_its_origin_is_kept() -> None:
    rows = table("regression", rows=900)
    asked = problem("regression", rows, lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1))
    part, horizon = 7 * 12 // 4, 7 * 12
    assert list(fits(rows, asked)) == [(0, 900 - part - 1), (0, 900 - horizon - 1)]


def test_a_choice_is_the_same_whether_it_is_watched_or_not() -> None:
    rows, times = table("regression", rows=900), np.arange(900) * DAY / 12
    asked = problem("regression", rows, lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1))
    watched = Watched(asked)
    with_, without = choose(watched.problem, rows, times), choose(asked, rows, times)
    assert with_.scores == without.scores
    assert np.array_equal(with_.answers, without.answers)
    found = watched.curves(rows)
    assert (len(found.training), len(found.out_of_time)) == (5, 5)


def test_only_the_newest_rows_are_asked() -> None:
    asked: list[int] = []

    class Counting(Booster):
        def predict(self, rows: pd.DataFrame, iteration_range: tuple[int, int]) -> NDArray[np.float32]:
            asked.append(len(rows))
            return super().predict(rows, iteration_range)

    rows = table("regression", rows=2 * ROWS)
    curves_of(problem("regression", rows), Counting().fit(rows, rows["y"]), rows, rows.iloc[:0])
    assert set(asked) == {ROWS}
