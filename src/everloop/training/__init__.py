"""From rows to a graph: the estimator a project names, what it is trained on, its export and parity."""

from everloop.training.estimators import build, forget_modules, load_function, prepare
from everloop.training.export import to_onnx
from everloop.training.parity import check_answers, check_parity
from everloop.training.team import TIME_INDEX, GraphPart, merge
from everloop.training.window import (
    AUTO,
    EVERYTHING,
    Choice,
    Problem,
    Recipe,
    Trained,
    choose,
    fit_recipe,
    fixed,
    newest_horizons,
)

__all__ = [
    "AUTO",
    "EVERYTHING",
    "TIME_INDEX",
    "Choice",
    "GraphPart",
    "Problem",
    "Recipe",
    "Trained",
    "build",
    "check_answers",
    "check_parity",
    "choose",
    "fit_recipe",
    "fixed",
    "forget_modules",
    "load_function",
    "merge",
    "newest_horizons",
    "prepare",
    "to_onnx",
]
