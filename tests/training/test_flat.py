from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from tests.training.pictures import COLUMNS, asked, pictured

from everloop.training import to_onnx
from everloop.training.flat import Flat


@pytest.mark.parametrize("frames", ["all", "mean", "mean and deviation"])
@pytest.mark.parametrize("model", [Ridge(), ExtraTreesRegressor(10, random_state=0)], ids=["ridge", "trees"])
def test_the_graph_answers_as_the_estimator(model: Any, frames: Literal["all", "mean", "mean and deviation"]) -> None:
    rows, target = pictured()
    fitted = clone(Flat(model, frames)).fit(rows, target)
    later, _ = pictured(40, seed=1)
    graph = to_onnx(fitted, COLUMNS, "regression")
    assert asked(graph, later)["prediction"][:, 0] == pytest.approx(fitted.predict(later), rel=1e-4)
    assert to_onnx(fitted, COLUMNS, "regression") == graph


@pytest.mark.parametrize("classes", [(0, 1), ("low", "middle", "high")], ids=str)
@pytest.mark.parametrize("model", [LogisticRegression(max_iter=2000), ExtraTreesClassifier(10, random_state=0)])
def test_classes_and_their_probabilities(model: Any, classes: tuple[Any, ...]) -> None:
    rows, target = pictured()
    cuts = np.quantile(target, np.arange(1, len(classes)) / len(classes))
    fitted = Flat(model).fit(rows, np.array(classes)[np.digitize(target, cuts)])
    found = asked(to_onnx(fitted, COLUMNS, "classification"), rows)
    assert found["label"].tolist() == fitted.predict(rows).tolist()
    assert found["probability"] == pytest.approx(fitted.predict_proba(rows), abs=1e-5)
    assert sorted(fitted.classes_) == sorted(classes)


def test_what_a_model_sees_of_a_video() -> None:
    rows, target = pictured(10)
    widths = {
        f: Flat(Ridge(), f).fit(rows, target).model_.n_features_in_ for f in ("all", "mean", "mean and deviation")
    }
    assert widths == {"all": 90 + 24 + 3 + 4, "mean": 90 + 12 + 3 + 4, "mean and deviation": 90 + 24 + 3 + 4}
