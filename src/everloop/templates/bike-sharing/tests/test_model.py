"""The features hold no leak, and the model learns."""

import numpy as np
import pandas as pd
from bike_sharing.model import INPUTS, features, model


def rides(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.uniform(0, 1, rows) for name in INPUTS})
    frame["dteday"], frame["hr"] = "2011-01-01", np.arange(rows) % 24
    frame["casual"], frame["registered"] = 1, 2
    return frame.assign(cnt=100 + 300 * frame["temp"])


def test_features_leave_out_what_adds_up_to_the_target() -> None:
    assert not {"casual", "registered", "yr"} & set(features(rides()).columns)


def test_the_model_learns() -> None:
    table = features(rides())
    fitted = model().fit(table[INPUTS], table["cnt"])
    assert fitted.score(table[INPUTS], table["cnt"]) > 0.9
