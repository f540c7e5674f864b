"""Models in their library's own format: what is loaded answers as what was fitted, and nothing unknown is loaded."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import lightgbm
import msgspec
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from everloop.errors import UsageError
from everloop.training.native import FILE, load, save
from everloop.training.window import EVERYTHING, TEAM, Problem, Trained, fit_recipe
from everloop.types import Column

INPUTS = (Column("a", "float64"), Column("b", "float64"))
DAY = 86_400.0


def table(task: str, classes: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300), rng.uniform(size=300)
    y = 3 * a + b if task == "regression" else np.array(["no", "yes", "maybe"])[np.digitize(a, [-0.5, 0.5]) % classes]
    return pd.DataFrame({"a": a, "b": b, "y": y})


def level(truth: Any, answers: Any) -> Any:
    return np.abs(truth - answers)


def fitted(estimator: Any, rows: pd.DataFrame, recipe: Any = EVERYTHING, named: bool = True) -> Trained:
    regression = rows["y"].dtype.kind == "f"
    classes = () if regression else tuple(sorted(set(rows["y"])))
    problem = Problem(
        "regression" if regression else "classification", ("a", "b"), "y", classes, estimator, level, 60 * DAY
    )
    if not named:  # these learn numbers of classes alone
        rows = rows.assign(y=[classes.index(v) for v in rows["y"]])
        problem = msgspec.structs.replace(problem, classes=tuple(range(len(classes))))
    times = np.arange(len(rows), dtype=np.float64) * DAY
    return fit_recipe(problem, rows, times, recipe, float(times[-1]))


def asked(trained: Trained) -> tuple[str, ...]:
    """Return the types that a model has to be allowed, as the refusal lists them."""
    try:
        save(trained, INPUTS, ())
    except UsageError as error:
        listed: list[str] = tomllib.loads(re.findall(r"native = \[.*\]", str(error))[0])["native"]
        return tuple(listed)
    return ()


@pytest.mark.parametrize("recipe", [EVERYTHING, TEAM], ids=["one", "team"])
@pytest.mark.parametrize(
    ("build", "ending"),
    [
        (lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1), "lightgbm"),
        (lambda: xgboost.XGBRegressor(n_estimators=5), "xgboost"),
        (lambda: make_pipeline(StandardScaler(), RandomForestRegressor(5, random_state=0)), "skops"),
        (lambda: GaussianProcessRegressor(random_state=0), "skops"),
    ],
)
def test_numbers_come_back_bit_for_bit(build: Any, ending: str, recipe: Any) -> None:
    rows = table("regression")
    trained = fitted(build, rows, recipe)
    allowed = asked(trained)
    files = save(trained, INPUTS, allowed)
    assert {name.rpartition(".")[2] for name in files if name != FILE} == {ending}
    assert np.array_equal(load(files, allowed).answers(rows), trained.answers(rows))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: lightgbm.LGBMClassifier(n_estimators=5, verbose=-1), True),
        (lambda: xgboost.XGBClassifier(n_estimators=5), False),
        (lambda: RandomForestClassifier(5, random_state=0), True),
        (lambda: KNeighborsClassifier(), True),
    ],
)
def test_probabilities_come_back_bit_for_bit(build: Any, named: bool, classes: int) -> None:
    rows = table("classification", classes)
    trained = fitted(build, rows, named=named)
    allowed = asked(trained)
    found = load(save(trained, INPUTS, allowed), allowed).answers(rows)
    assert np.allclose(found, trained.answers(rows), atol=1e-7)
    assert found.shape == (300, classes)


def doubled(frame: Any) -> Any:
    return frame * 2


def test_types_that_are_not_allowed_are_named_and_not_loaded() -> None:
    rows = table("regression")
    trained = fitted(lambda: make_pipeline(FunctionTransformer(doubled), RandomForestRegressor(2)), rows)
    name = f"{doubled.__module__}.doubled"
    allowed = asked(trained)
    assert name in allowed
    files = save(trained, INPUTS, allowed)
    fewer = [one for one in allowed if one != name]
    with pytest.raises(UsageError, match=rf"the model holds {name}, which \[serving\] native does not allow: native ="):
        load(files, fewer)
    assert np.array_equal(load(files, allowed).answers(rows), trained.answers(rows))


def test_what_is_described_tells_which_model_it_is() -> None:
    rows = table("regression")
    one, same = (
        save(fitted(lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1), rows), INPUTS, ()) for _ in "ab"
    )
    other = save(fitted(lambda: lightgbm.LGBMRegressor(n_estimators=6, verbose=-1), rows), INPUTS, ())
    assert one[FILE] == same[FILE] != other[FILE]
    assert b'"lightgbm"' in one[FILE]
