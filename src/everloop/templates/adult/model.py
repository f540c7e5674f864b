"""Who earns more than 50,000 a year, from a census form."""

from __future__ import annotations

import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

TEXTS = ["workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country"]
NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]


def features(forms: pd.DataFrame) -> pd.DataFrame:
    """Leave out `fnlwgt`: how many people a form stands for says nothing about the one who filled it in."""
    return forms.filter([*NUMBERS, *TEXTS, "income-per-year"])  # rows to be predicted have no answer yet


def model(trees: int = 200, learning_rate: float = 0.1) -> Pipeline:
    """Return the estimator to train; a category it never saw is none of those it knows."""
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), TEXTS), remainder="passthrough", sparse_threshold=0
    )
    return make_pipeline(columns, LGBMClassifier(n_estimators=trees, learning_rate=learning_rate, n_jobs=1, verbose=-1))
