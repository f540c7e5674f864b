from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from everloop.errors import DataError, UsageError
from everloop.training import build, forget_modules, load_function, prepare

MODEL = """
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

VALUE = {value}


def forest(trees=5, seed=None):
    return make_pipeline(StandardScaler(), RandomForestRegressor(trees, random_state=seed))


def linear():
    return LinearRegression()


def boosted():
    import xgboost

    return make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=3, max_depth=2))


def value():
    return VALUE


def features(rows):
    return rows.assign(c=rows["a"] + rows["b"])


def listed(rows):
    return [rows]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A project with the module `ever_test.model`."""
    path, modules = list(sys.path), set(sys.modules)
    yield write(tmp_path / "one", 1)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.split(".")[0] in ("ever_test", "ever_broken", "ever_needs"):
            del sys.modules[name]


def write(folder: Path, value: int) -> Path:
    package = folder / "ever_test"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(MODEL.format(value=value))
    return folder


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("ever_test.model", "names no function: write it as 'package.module:function'"),
        (":model", "names no function"),
        ("ever_tset.model:linear", r"there is no module 'ever_tset' in .* \(did you mean 'ever_test'\?\)"),
        ("ever_test.modle:linear", "there is no module 'ever_test.modle' in"),
        ("ever_test.model:liner", r"module 'ever_test.model' has no function 'liner' \(did you mean 'linear'\?\)"),
        ("ever_test.model:VALUE", "has no function 'VALUE'"),
    ],
)
def test_a_function_that_is_not_there_is_one_sentence(folder: Path, reference: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        load_function(reference, folder)
    assert "\n" not in str(caught.value)


def test_a_module_that_cannot_be_imported_is_one_sentence(folder: Path) -> None:
    (folder / "ever_broken.py").write_text("1 / 0\n")
    (folder / "ever_needs.py").write_text("import no_such_package\n")
    with pytest.raises(UsageError, match="its module cannot be imported: ZeroDivisionError: division by zero"):
        load_function("ever_broken:f", folder)
    with pytest.raises(UsageError, match="its module needs 'no_such_package', which is not installed"):
        load_function("ever_needs:f", folder)


def test_two_projects_may_call_their_package_the_same(folder: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "two", 2)
    assert [load_function("ever_test.model:value", place)() for place in (folder, other, folder)] == [1, 2, 1]


def test_forgotten_modules_run_as_they_stand_now(folder: Path) -> None:
    assert load_function("ever_test.model:value", folder)() == 1
    write(folder, 12345)
    assert load_function("ever_test.model:value", folder)() == 1
    forget_modules(folder)
    assert load_function("ever_test.model:value", folder)() == 12345


def test_an_estimator_is_built_with_its_parameters_and_the_seed_where_it_is_open(folder: Path) -> None:
    opened = build("ever_test.model:forest", folder, {"trees": 3}, seed=7, task="regression")
    assert [opened.steps[-1][1].n_estimators, opened.steps[-1][1].random_state] == [3, 7]
    assert (
        build("ever_test.model:forest", folder, {"seed": 1}, seed=7, task="regression").steps[-1][1].random_state == 1
    )


def test_what_builds_no_estimator_is_one_sentence(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"'ever_test.model:linear' failed: TypeError: .*unexpected keyword"):
        build("ever_test.model:linear", folder, {"depth": 3}, seed=0, task="regression")
    with pytest.raises(UsageError, match=r"'ever_test\.model:value' returned int: a scikit-learn estimator is needed"):
        build("ever_test.model:value", folder, {}, seed=0, task="regression")
    with pytest.raises(
        UsageError, match=r"returned a regressor, and the target is a class: name a classifier in \[train"
    ):
        build("ever_test.model:forest", folder, {}, seed=0, task="classification")


def test_the_last_step_sees_float32_and_the_others_float64(folder: Path) -> None:
    rows = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0**24, 2.0**24 + 1, 2.0**24 + 2]})
    for name in ("forest", "linear"):
        built = build(f"ever_test.model:{name}", folder, {}, seed=0, task="regression").fit(rows, [1.0, 2.0, 3.0])
        assert built[:-1].transform(rows).dtype == np.float32
    forest = build("ever_test.model:forest", folder, {}, seed=0, task="regression").fit(rows, [1.0, 2.0, 3.0])
    scaled = forest[:-1].transform(rows)
    assert scaled[:, 0].tolist() == scaled[:, 1].tolist()


@pytest.mark.parametrize("classes", [("no", "yes"), (3, 8), (1, 2, 5)], ids=str)
@pytest.mark.parametrize("graph", [True, False])
def test_xgboost_learns_classes_as_they_are(folder: Path, classes: tuple[Any, ...], graph: bool) -> None:
    rows = pd.DataFrame({"a": np.arange(60.0), "b": 0.0})
    target = np.array(classes)[np.arange(60) * len(classes) // 60]
    built = build("ever_test.model:boosted", folder, {}, seed=7, task="classification", graph=graph)
    assert (built.steps[-1][1].max_depth, built.steps[-1][1].random_state) == (2, 7)
    built.fit(rows, target)
    assert built.classes_.tolist() == list(classes)
    assert built.predict(rows).tolist() == target.tolist()


def test_rows_are_prepared_by_the_features_function(folder: Path) -> None:
    rows = pd.DataFrame({"a": [1], "b": [2]})
    assert prepare(None, folder, rows) is rows
    assert prepare("ever_test.model:features", folder, rows)["c"].tolist() == [3]
    with pytest.raises(DataError, match=r"'ever_test\.model:features' failed on the rows: there is no column 'b'"):
        prepare("ever_test.model:features", folder, rows[["a"]])
    with pytest.raises(DataError, match="failed on the rows: TypeError: "):
        prepare("ever_test.model:features", folder, rows.assign(b="x"))
    with pytest.raises(DataError, match=r"'ever_test\.model:listed' returned list: a DataFrame is needed"):
        prepare("ever_test.model:listed", folder, rows)
