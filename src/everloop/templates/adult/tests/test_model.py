"""The features hold what a form says, and the model learns."""

import numpy as np
import pandas as pd
from model import NUMBERS, TEXTS, features, model

rng = np.random.default_rng(0)
FORMS = pd.DataFrame(
    {name: rng.uniform(0, 1, 400) for name in NUMBERS}
    | {name: rng.choice(["a", "b"], 400) for name in TEXTS}
    | {"fnlwgt": 1}
)
INCOME = np.where((FORMS["age"] > 0.5) & (FORMS["education"] == "a"), ">50K", "<=50K")


def test_the_weight_of_a_form_is_left_out() -> None:
    assert list(features(FORMS).columns) == [*NUMBERS, *TEXTS]


def test_the_model_learns() -> None:
    table = features(FORMS)
    assert model(trees=50).fit(table, INCOME).score(table, INCOME) > 0.95


def test_an_unknown_category_is_answered() -> None:
    table = features(FORMS)
    fitted = model(trees=5).fit(table, INCOME)
    assert len(fitted.predict(table.assign(occupation="never seen")[:3])) == 3
