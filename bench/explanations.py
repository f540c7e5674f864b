"""What an explanation costs: milliseconds on a LightGBM graph of 8, 12 and 20 columns, and how exact the values are.

The largest difference is that to SHAP's exact tree explainer, over the spread of the answers. Run
`python bench/explanations.py`.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.inference.shapley import explain
from everloop.training import to_onnx
from everloop.training.estimators import with_cast
from everloop.types import Column

BACKGROUND = 32


def main() -> None:
    """Print a line for each number of columns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap
    print(f"{'columns':>8}{'method':>22}{'CPU ms a row':>14}{'largest difference':>20}")
    for count in (8, 12, 20):
        rng = np.random.default_rng(count)
        names = [f"x{n}" for n in range(count)]
        x = pd.DataFrame(rng.normal(size=(3000, count)), columns=names).astype(np.float32).astype(np.float64)
        y = x["x0"] * x["x1"] + np.sin(2 * x["x2"]) + x.sum(axis=1)
        pipeline = with_cast(lightgbm.LGBMRegressor(n_estimators=100, verbose=-1, num_threads=1)).fit(x, y)
        model = pipeline.steps[-1][1]
        graph = OnnxRuntime(to_onnx(pipeline, [Column(n, "float64") for n in names], "regression"), 1)

        def predict(feeds: dict[str, Any], graph: OnnxRuntime = graph) -> Any:
            return graph.predict({n: v[:, None] for n, v in feeds.items()})["prediction"].reshape(-1).astype(float)

        background = {n: x[n].to_numpy()[:BACKGROUND] for n in names}
        trees = shap.TreeExplainer(model, x[:BACKGROUND], feature_perturbation="interventional")
        expected = np.asarray(trees.shap_values(x[100:105]))
        before, rows = (
            time.process_time(),
            [{n: x[n].to_numpy()[row : row + 1] for n in names} for row in range(100, 105)],
        )
        found = [explain(predict, row, background) for row in rows]
        milliseconds = (time.process_time() - before) / len(rows) * 1e3
        values = np.array([list(one.values.values()) for one in found])
        difference = np.abs(values - expected).max() / float(np.std(model.predict(x)))
        print(f"{count:>8}{found[0].method:>22}{milliseconds:>14.0f}{difference:>20.2g}")


if __name__ == "__main__":
    main()
