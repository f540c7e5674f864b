"""The model takes numbers, a category and pictures together."""

import numpy as np
import pandas as pd
from model import features, model

from everloop.training.flat import Flat

rng = np.random.default_rng(0)
HOUSES = features(
    pd.DataFrame(
        {
            "area": rng.uniform(500, 5000, 300),
            "zipcode": rng.choice([85255, 92276], 300),
            "frontal": pd.Series(list(rng.integers(0, 256, (300, 2, 2, 3), dtype=np.uint8))),
        }
    )
)
PRICE = HOUSES["area"] * 100 * np.where(HOUSES["zipcode"] == "85255", 2, 1)


def test_the_model_learns() -> None:
    assert Flat(model(trees=50)).fit(HOUSES, PRICE).predict(HOUSES).std() > 0.5 * PRICE.std()


def test_a_zip_code_is_no_number() -> None:
    assert HOUSES["zipcode"].map(type).eq(str).all()
