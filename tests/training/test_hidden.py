from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from tests.training.pictures import COLUMNS, asked, pictured

from everloop.training import to_onnx
from everloop.training.flat import Flat
from everloop.training.hidden import HIDDEN, with_hidden


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [MLPRegressor, MLPClassifier])
def test_the_last_layers_input_is_given_beside_the_answers(kind: Any) -> None:
    rows, target = pictured()
    fitted = Flat(kind(hidden_layer_sizes=(9, 7), max_iter=3, random_state=0)).fit(
        rows, target if kind is MLPRegressor else target > 8
    )
    graph = to_onnx(fitted, COLUMNS, "regression" if kind is MLPRegressor else "classification")
    looked_into = with_hidden(graph)
    assert looked_into
    plain, found = asked(graph, rows), asked(looked_into, rows)
    assert set(found) == {*plain, HIDDEN}
    assert all((found[name] == plain[name]).all() for name in plain)
    values = fitted._matrix(rows)
    for weights, start in list(zip(fitted.model_.coefs_, fitted.model_.intercepts_, strict=True))[:-1]:
        values = np.maximum(values @ weights + start, 0)
    assert found[HIDDEN] == pytest.approx(values, abs=1e-4)


@pytest.mark.parametrize("model", [Ridge(), ExtraTreesRegressor(3)], ids=["ridge", "trees"])
def test_what_is_no_network_has_no_hidden_layer(model: Any) -> None:
    rows, target = pictured()
    assert with_hidden(to_onnx(Flat(model).fit(rows, target), COLUMNS, "regression")) is None


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_network_of_one_layer_has_none_either() -> None:
    rows, target = pictured()
    fitted = Flat(MLPRegressor(hidden_layer_sizes=(), max_iter=3)).fit(rows, target)
    assert with_hidden(to_onnx(fitted, COLUMNS, "regression")) is None
