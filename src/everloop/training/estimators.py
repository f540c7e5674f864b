"""The project's own functions: found by `module:function`, imported from the project's folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everloop.errors import DataError, UsageError, close_match
from everloop.types import Task

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = ["build", "forget_modules", "load_function", "prepare", "with_cast"]


def load_function(reference: str, folder: Path) -> Callable[..., Any]:
    """Return the function that `module:function` names, importing the module from the project's folder."""
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise UsageError(f"{reference!r} names no function: write it as 'package.module:function'")
    place = str(folder)
    if sys.path[0] != place:
        sys.path[:] = [place, *(p for p in sys.path if p != place)]
    _make_room(module_name.split(".")[0], folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            known = [p.stem for p in folder.glob("*.py")] + [p.parent.name for p in folder.glob("*/__init__.py")]
            hint = close_match(module_name.split(".")[0], known)
            raise UsageError(f"{reference!r}: there is no module {error.name!r} in {folder}{hint}") from error
        raise UsageError(f"{reference!r}: its module needs {error.name!r}, which is not installed") from error
    except Exception as error:
        raise UsageError(f"{reference!r}: its module cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(
            f"{reference!r}: module {module_name!r} has no function {name!r}{close_match(name, dir(module))}"
        )
    return function  # type: ignore[no-any-return]


def forget_modules(folder: Path) -> None:
    """Forget the modules imported from the project's folder: the next use runs the code as it stands there now."""
    folder = folder.resolve()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(folder) and "site-packages" not in Path(file).parts:
            del sys.modules[name]
    importlib.invalidate_caches()


def _make_room(name: str, folder: Path) -> None:
    """Forget another project's package of the same name."""
    file = getattr(sys.modules.get(name), "__file__", None)
    here = (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    if file and here and not Path(file).is_relative_to(folder.resolve()):
        for known in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            del sys.modules[known]


def build(
    reference: str, folder: Path, parameters: Mapping[str, Any], seed: int, task: Task, *, graph: bool = True
) -> Any:
    """Return the unfitted estimator of the project; every `random_state` left open becomes `seed`.

    One that is to become a graph casts to float32 before its last step, unless it exports itself (`to_onnx`). Raises
    `UsageError` for what is no estimator, and for a regressor where the target is a class or the other way round.
    """
    function = load_function(reference, folder)
    try:
        estimator = function(**parameters)
    except Exception as error:
        raise UsageError(f"{reference!r} failed: {type(error).__name__}: {error}") from error
    if not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
        raise UsageError(f"{reference!r} returned {type(estimator).__name__}: a scikit-learn estimator is needed")
    _check_task(reference, estimator, task)
    estimator = _of_any_classes(estimator)
    open_seeds = {
        k: seed for k, v in estimator.get_params(deep=True).items() if k.endswith("random_state") and v is None
    }
    estimator.set_params(**open_seeds)
    return with_cast(estimator) if graph and not hasattr(estimator, "to_onnx") else estimator


def _check_task(reference: str, estimator: Any, task: Task) -> None:
    from sklearn.base import is_classifier, is_regressor

    if not hasattr(estimator, "__sklearn_tags__"):
        return
    if task == "classification" and is_regressor(estimator):
        told = "returned a regressor, and the target is a class: name a classifier in [training] model"
    elif task == "regression" and is_classifier(estimator):
        told = "returned a classifier, and the target is a number: name a regressor in [training] model"
    else:
        return
    raise UsageError(f"{reference!r} {told}, or say [data] task")


def _of_any_classes(estimator: Any) -> Any:
    """Return the estimator with a classifier of XGBoost at its end that takes classes as they are."""
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else estimator
    if (type(last).__module__, type(last).__name__) != ("xgboost.sklearn", "XGBClassifier"):
        return estimator
    from everloop.training.xgboost_classes import XGBClassifier

    taught = XGBClassifier(**last.get_params())
    return estimator.set_params(**{steps[-1][0]: taught}) if steps else taught


def prepare(reference: str | None, folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as the project's features function turns them; without one, as they are.

    Raises `DataError` when the function fails on them or returns something else than a DataFrame.
    """
    if reference is None:
        return rows
    function = load_function(reference, folder)
    try:
        prepared = function(rows)
    except Exception as error:
        missing = isinstance(error, KeyError)
        told = f"there is no column {error}" if missing else f"{type(error).__name__}: {error}"
        raise DataError(f"{reference!r} failed on the rows: {told}") from error
    if type(prepared).__name__ != "DataFrame":
        raise DataError(f"{reference!r} returned {type(prepared).__name__}: a DataFrame is needed")
    return prepared  # type: ignore[no-any-return]


def with_cast(estimator: Any) -> Pipeline:
    """Return the estimator's steps with a cast to float32 before the last one.

    The graph's trees compare float32 numbers; trained on float32 numbers, the estimator asks the very
    same questions, and no row can fall on another side of a threshold than it did in training.
    """
    from skl2onnx.sklapi import CastTransformer
    from sklearn.compose import ColumnTransformer, make_column_selector
    from sklearn.pipeline import Pipeline

    steps = list(estimator.steps) if isinstance(estimator, Pipeline) else [("model", estimator)]
    if len(steps) == 1:
        every = ColumnTransformer([("columns", "passthrough", make_column_selector())])
        steps = [("everloop_columns", every), *steps]
    return Pipeline([*steps[:-1], ("everloop_cast", CastTransformer(dtype=np.float32)), steps[-1]])
