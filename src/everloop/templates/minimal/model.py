"""What is trained: normal Python, normal imports; it runs in a notebook too."""

from __future__ import annotations

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder


def model(trees: int = 100) -> Pipeline:
    """Return the estimator to train; take a classifier where the target is a class."""
    columns = make_column_transformer(
        (SimpleImputer(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include=["object", "str"])),
    )
    return make_pipeline(columns, RandomForestRegressor(trees, min_samples_leaf=3))
