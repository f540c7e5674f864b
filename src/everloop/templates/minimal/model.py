"""What is trained: normal Python, normal imports; it runs in a notebook too."""

from __future__ import annotations

from typing import Any

from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder


def regressor(trees: int = 200, learning_rate: float = 0.1) -> Pipeline:
    """Return the estimator for a target that is a number."""
    return _after_encoding(LGBMRegressor(n_estimators=trees, learning_rate=learning_rate, n_jobs=1, verbose=-1))


def classifier(trees: int = 200, learning_rate: float = 0.1) -> Pipeline:
    """Return the estimator for a target that is a class."""
    return _after_encoding(LGBMClassifier(n_estimators=trees, learning_rate=learning_rate, n_jobs=1, verbose=-1))


def _after_encoding(estimator: Any) -> Pipeline:
    """Turn texts into numbers before the estimator; a category it never saw is none of those it knows."""
    texts = (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include=["object", "str"]))
    columns = make_column_transformer(texts, remainder="passthrough", sparse_threshold=0)
    return make_pipeline(columns, estimator)
