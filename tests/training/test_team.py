from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import OneHotEncoder
from tests.training.tables import exported, made, run
from tests.training.test_export import piped

from everloop.data import Schema, infer
from everloop.statistics import apply_level
from everloop.training import TIME_INDEX, GraphPart, check_parity, merge, to_onnx
from everloop.training.estimators import with_cast
from everloop.types import Column

ENCODER = OneHotEncoder(handle_unknown="ignore")
CLASSES = [(0, 1), (2, 5, 7), (False, True), ("no", "yes"), ("a", "b", "c")]


def held(model: Any, rows: pd.DataFrame, schema: Schema, value: float) -> tuple[GraphPart, NDArray[np.float64]]:
    """Return a member trained with a time index and its answers with the index held at `value`."""
    inputs = (*schema.inputs, Column(TIME_INDEX, "float64"))
    days = np.arange(len(rows)) / 24.0
    features = rows[schema.names].assign(**{TIME_INDEX: days})
    fitted = with_cast(piped(model, ENCODER)).fit(features, rows["y"])
    ask = fitted.predict if schema.task == "regression" else fitted.predict_proba
    part = GraphPart(to_onnx(fitted, inputs, schema.task), time_index=value)
    return part, np.asarray(ask(features.assign(**{TIME_INDEX: value})), dtype=np.float64)


def test_regression_is_the_mean_of_members_levels_and_a_held_time() -> None:
    rows, schema = made()
    linear, plain = exported(piped(LinearRegression(), ENCODER), rows, schema)
    boosted, corrected = exported(piped(HistGradientBoostingRegressor(max_iter=10), ENCODER), rows, schema)
    part, indexed = held(LinearRegression(), rows, schema, 99.0)
    merged = merge([GraphPart(linear), GraphPart(boosted, (1.25,)), part], schema.inputs, "regression", ())
    wanted = np.mean([plain, apply_level(corrected, np.array([1.25])), indexed], axis=0)
    found = run(merged, rows, schema)
    assert list(found) == ["prediction"]
    assert found["prediction"].shape == (300, 1)
    assert found["prediction"][:, 0] == pytest.approx(wanted, abs=1e-5)
    check_parity(merged, wanted, rows, schema.inputs, "regression", 1.0)


@pytest.mark.parametrize("classes", CLASSES, ids=str)
def test_classification_is_the_mean_of_corrected_probabilities(classes: tuple[Any, ...]) -> None:
    rows, schema = made(classes)
    level = np.arange(1.0, len(classes) + 1) / len(classes)
    linear, plain = exported(piped(LogisticRegression(max_iter=1000), ENCODER), rows, schema)
    model = LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)
    boosted, corrected = exported(piped(model, ENCODER), rows, schema)
    part, indexed = held(LogisticRegression(max_iter=1000), rows, schema, 5.0)
    merged = merge(
        [GraphPart(linear), GraphPart(boosted, tuple(level)), part], schema.inputs, "classification", classes
    )
    wanted = np.mean([plain, apply_level(corrected, level), indexed], axis=0)
    found = run(merged, rows, schema)
    assert list(found) == ["label", "probability"]
    assert found["probability"] == pytest.approx(wanted, abs=1e-5)
    assert found["label"].tolist() == [classes[i] for i in found["probability"].argmax(1)]
    check_parity(merged, wanted, rows, schema.inputs, "classification", 1.0)


def test_one_member_alone_keeps_its_bytes_and_a_level_is_applied_to_one() -> None:
    rows, schema = made()
    graph, answers = exported(piped(LinearRegression(), ENCODER), rows, schema)
    assert merge([GraphPart(graph)], schema.inputs, "regression", ()) == graph
    levelled = merge([GraphPart(graph, (0.5,))], schema.inputs, "regression", ())
    assert run(levelled, rows, schema)["prediction"][:, 0] == pytest.approx(answers / 2, abs=1e-5)
    part, indexed = held(LinearRegression(), rows, schema, 3.0)
    alone = merge([part], schema.inputs, "regression", ())
    assert run(alone, rows, schema)["prediction"][:, 0] == pytest.approx(indexed, abs=1e-5)


@pytest.mark.parametrize("classes", [(), ("no", "yes"), (0, 1)], ids=str)
def test_a_merged_graph_looks_like_a_single_one_and_repeats(classes: tuple[Any, ...]) -> None:
    rows, schema = made(classes)
    model = LogisticRegression(max_iter=1000) if classes else LinearRegression()
    single, _ = exported(piped(model, ENCODER), rows, schema)
    parts = [GraphPart(single), GraphPart(single)]
    merged = merge(parts, schema.inputs, schema.task, classes)
    assert merge(parts, schema.inputs, schema.task, classes) == merged
    onnx.checker.check_model(onnx.load_model_from_string(merged))
    assert described(merged) == described(single)
    for name, values in run(single, rows, schema).items():
        again = run(merged, rows, schema)[name]
        assert again.tolist() == values.tolist() if name == "label" else again == pytest.approx(values, abs=1e-6)


def test_columns_may_be_called_as_they_like() -> None:
    rows, schema = made(("no", "yes"))
    rows = rows.rename(columns={"a": "best", "b": "classes", "flag": "team"})[["time", "best", "classes", "team", "y"]]
    schema = infer(rows, target="y", time="time")
    model = HistGradientBoostingClassifier(max_iter=5)
    single, answers = exported(model, rows, schema)
    merged = merge([GraphPart(single), GraphPart(single, (0.5, 0.5))], schema.inputs, "classification", schema.classes)
    assert run(merged, rows, schema)["probability"] == pytest.approx(answers, abs=1e-5)


def described(graph: bytes) -> list[tuple[str, int]]:
    """Return names and types of a graph's inputs and outputs."""
    model = onnx.load_model_from_string(graph).graph
    return [(v.name, v.type.tensor_type.elem_type) for v in (*model.input, *model.output)]
