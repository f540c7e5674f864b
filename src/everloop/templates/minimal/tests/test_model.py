"""The models learn."""

import numpy as np
import pandas as pd
from model import classifier, regressor

rng = np.random.default_rng(0)
ROWS = pd.DataFrame({"number": rng.uniform(size=300), "kind": rng.choice(["a", "b"], 300)})


def test_the_regressor_learns() -> None:
    target = 10 * ROWS["number"] + (ROWS["kind"] == "a")
    assert regressor(trees=50).fit(ROWS, target).score(ROWS, target) > 0.9


def test_the_classifier_learns() -> None:
    target = np.where((ROWS["number"] > 0.5) ^ (ROWS["kind"] == "a"), "yes", "no")
    assert classifier(trees=50).fit(ROWS, target).score(ROWS, target) > 0.9
