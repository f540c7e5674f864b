"""How many bikes are rented in an hour, from the calendar and the weather."""

from __future__ import annotations

import pandas as pd
from lightgbm import LGBMRegressor

INPUTS = [
    "season", "mnth", "hr", "holiday", "weekday", "workingday",
    "weathersit", "temp", "atemp", "hum", "windspeed",
]  # fmt: skip


def features(rides: pd.DataFrame) -> pd.DataFrame:
    """Turn the raw file into the table that the model is trained on and asked with.

    It runs when data is ingested, never in serving: what must happen to a served row belongs in
    `model`, which becomes the served graph. `casual` and `registered` add up to the target, and
    `yr` says which half of the data a row lies in: neither is known or useful in production.
    """
    timestamp = pd.to_datetime(rides["dteday"], utc=True) + pd.to_timedelta(rides["hr"], unit="h")
    return rides.filter([*INPUTS, "cnt"]).assign(timestamp=timestamp)  # rows to be predicted have no cnt yet


def model(learning_rate: float = 0.1) -> LGBMRegressor:
    """Return the estimator to train: any scikit-learn or LightGBM pipeline that exports to ONNX."""
    return LGBMRegressor(learning_rate=learning_rate, n_jobs=1, verbose=-1)
