"""The model learns."""

import numpy as np
import pandas as pd
from model import model


def test_the_model_learns() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"number": rng.uniform(size=300), "kind": rng.choice(["a", "b"], 300)})
    target = 10 * rows["number"] + (rows["kind"] == "a")
    assert model(trees=20).fit(rows, target).score(rows, target) > 0.9
