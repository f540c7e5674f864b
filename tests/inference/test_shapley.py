"""Shapley values: their axioms, both methods, and agreement with SHAP's exact tree explainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.inference.shapley import explain

RNG = np.random.default_rng(4)


def table(rows: int, columns: int) -> dict[str, Any]:
    return {f"x{n}": RNG.normal(size=rows) for n in range(columns)}


def crossed(feeds: dict[str, Any]) -> Any:
    """A number that no sum of single columns gives; x3 plays no part, x4 and x5 play the same one."""
    x = [feeds[f"x{n}"] for n in range(len(feeds))]
    return x[0] * x[1] + np.sin(x[2]) + (x[4] + x[5]) ** 2


@pytest.mark.parametrize("budget", [10_000, 1_200])
def test_the_axioms(budget: int) -> None:
    background, row = table(20, 6), table(1, 6)
    row["x5"] = row["x4"]
    background["x5"] = background["x4"]
    found = explain(crossed, row, background, budget=budget)
    assert found.method == ("all 64 coalitions" if budget == 10_000 else "8 permutations")
    assert found.answer == pytest.approx(crossed(row)[0])
    assert found.base == pytest.approx(crossed(background).mean())
    assert found.base + sum(found.values.values()) == pytest.approx(found.answer)
    assert found.values["x3"] == pytest.approx(0, abs=1e-12)
    room = 4 * (found.errors["x4"] + found.errors["x5"]) + 1e-9
    assert found.values["x4"] == pytest.approx(found.values["x5"], abs=room)


def test_a_sum_of_columns_is_its_own_explanation() -> None:
    background, row = table(30, 12), table(1, 12)
    weights = np.arange(12) - 5.0

    def linear(feeds: dict[str, Any]) -> Any:
        return sum(w * feeds[f"x{n}"] for n, w in enumerate(weights))

    for budget in (200_000, 5_000):
        found = explain(linear, row, background, budget=budget)
        for n, weight in enumerate(weights):
            expected = weight * (row[f"x{n}"][0] - background[f"x{n}"].mean())
            assert found.values[f"x{n}"] == pytest.approx(expected, abs=1e-9)
            assert found.errors[f"x{n}"] == pytest.approx(0, abs=1e-9)


def test_sampling_comes_to_the_exact_values() -> None:
    background, row = table(25, 9), table(1, 9)

    def model(feeds: dict[str, Any]) -> Any:
        return crossed(feeds) + feeds["x6"] * feeds["x7"] * feeds["x8"]

    exact = explain(model, row, background, budget=20_000)
    sampled = explain(model, row, background, budget=12_000, seed=2)
    assert "permutations" in sampled.method
    for name, value in exact.values.items():
        assert sampled.values[name] == pytest.approx(value, abs=5 * sampled.errors[name] + 1e-9)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_base_and_values_sum_to_the_answer(columns: int, usual: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(columns, columns))

    def model(feeds: dict[str, Any]) -> Any:
        x = np.stack([feeds[f"x{n}"] for n in range(columns)], axis=1)
        return np.tanh((x @ weights) * x).sum(1)

    background = {f"x{n}": rng.normal(size=usual) for n in range(columns)}
    row = {f"x{n}": rng.normal(size=1) for n in range(columns)}
    for budget in (10_000, 1):
        found = explain(model, row, background, budget=budget, seed=seed)
        assert found.base + sum(found.values.values()) == pytest.approx(found.answer, abs=1e-9)


def test_words_and_vectors_are_columns_too() -> None:
    price = {"Oslo": 3.0, "Bonn": 1.0}

    def model(feeds: dict[str, Any]) -> Any:
        return np.array([price[city] for city in feeds["city"]]) * feeds["photo"].sum((1, 2))

    background = {"city": np.array(["Bonn", "Bonn", "Oslo"], dtype=object), "photo": np.ones((3, 2, 2))}
    row = {"city": np.array(["Oslo"], dtype=object), "photo": np.full((1, 2, 2), 2.0)}
    found = explain(model, row, background)
    assert (found.answer, found.method) == (24.0, "all 4 coalitions")
    assert found.base + sum(found.values.values()) == pytest.approx(24.0)
    assert set(found.values) == {"city", "photo"}


@pytest.mark.filterwarnings("ignore")  # of SHAP's imports
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_it_agrees_with_the_exact_tree_explainer(task: str) -> None:
    import lightgbm
    import pandas as pd
    import shap

    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(400, 7)), columns=[f"x{n}" for n in range(7)])
    y = x["x0"] * x["x1"] + np.sin(3 * x["x2"]) + x["x3"]
    background = x[:40]
    if task == "regression":
        model: Any = lightgbm.LGBMRegressor(n_estimators=30, verbose=-1).fit(x, y)
    else:  # in log odds: for probabilities SHAP rescales the values of the log odds, which is not exact
        model = lightgbm.LGBMClassifier(n_estimators=30, verbose=-1).fit(x, y > 0)
    expected = np.asarray(
        shap.TreeExplainer(model, background, feature_perturbation="interventional").shap_values(x[100:103])
    )

    def predict(feeds: dict[str, Any]) -> Any:
        return model.predict(pd.DataFrame(feeds), raw_score=True)

    usual = {f"x{n}": background[f"x{n}"].to_numpy() for n in range(7)}
    for place in range(3):
        row = {f"x{n}": x[f"x{n}"].to_numpy()[100 + place : 101 + place] for n in range(7)}
        found = explain(predict, row, usual)
        assert list(found.values.values()) == pytest.approx(expected[place], abs=1e-5)
