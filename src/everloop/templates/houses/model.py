"""What a house costs, from what is written of it and four photographs."""

from __future__ import annotations

import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor


def features(houses: pd.DataFrame) -> pd.DataFrame:
    """Make the zip code a category: it is no quantity."""
    return houses.assign(zipcode=houses["zipcode"].astype(str))


def model(trees: int = 200, share: float = 0.4) -> ExtraTreesRegressor:
    """Return the estimator to train; it sees the pixels of all photographs beside the numbers and the categories."""
    return ExtraTreesRegressor(trees, max_features=share, min_samples_leaf=2, n_jobs=1, random_state=0)
