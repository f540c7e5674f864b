from __future__ import annotations

import numpy as np
from tests.evaluation.rows import values

from everloop.evaluation import Answered
from everloop.evaluation.slices import Condition, holds, slices
from everloop.types import Column


def test_the_slice_that_fails_is_found_and_named() -> None:
    worst = slices(values())[0]
    assert set(worst.name.split(" and ")) == {"hour <= 5", "weather = rain"}
    assert worst.worse
    assert 6 < worst.ratio.value < 12
    rows = values()
    inside = holds(worst.conditions, rows.inputs)
    assert (inside == ((rows.inputs["hour"] < 6) & (rows.inputs["weather"] == "rain"))).all()
    assert worst.share == inside.mean()


def test_where_nothing_differs_hardly_a_slice_is_called_worse() -> None:
    called = 0
    for seed in range(10):
        rows = values(1500, seed)
        rng = np.random.default_rng(seed)
        plain = Answered(
            rows.task, (), rows.columns, rows.inputs, rows.truth, rows.truth + rng.normal(0, 5, len(rows)), rows.times,
            rows.block,
        )  # fmt: skip
        called += sum(one.worse for one in slices(plain))
    assert called <= 2


def test_missing_values_and_fractions_are_named_too() -> None:
    rng, n = np.random.default_rng(0), 3000
    wind = np.where(rng.uniform(size=n) < 0.3, np.nan, rng.uniform(0, 1, n))
    off = np.where(np.isnan(wind), 20.0, np.where(wind > 0.6, 8.0, 1.0)) * rng.normal(size=n)
    truth = rng.normal(size=n)
    columns = (Column("wind", "float64"), Column("note", "string", "text"))
    inputs = {"wind": wind, "note": np.array(["x"] * n, dtype=object)}
    found = slices(
        Answered("regression", (), columns, inputs, truth, truth + off, np.arange(n, dtype=np.float64) * 60.0, 0.0)
    )
    assert found[0].name == "wind is missing"
    assert holds(found[0].conditions, inputs).mean() == np.isnan(wind).mean()
    assert any("wind > 0.6" in one.name or "wind > 0.59" in one.name for one in found)


def test_a_flag_is_named_by_its_value() -> None:
    rows = values()
    holiday = (np.arange(len(rows)) % 3 == 0).astype(np.float64)
    answers = rows.truth + np.random.default_rng(1).normal(0, 1 + 9 * holiday)
    columns = (Column("holiday", "float64"),)
    flagged = Answered("regression", (), columns, {"holiday": holiday}, rows.truth, answers, rows.times, rows.block)
    assert [one.name for one in slices(flagged)] == ["holiday = 1", "holiday = 0"]


def test_too_few_rows_have_no_slices() -> None:
    assert slices(values(50)) == []


def test_how_conditions_are_said() -> None:
    told = {
        Condition("a", above=0.5, up_to=2.25).told: "0.5 < a <= 2.25",
        Condition("a", above=0.5).told: "a > 0.5",
        Condition("a", up_to=0.5).told: "a <= 0.5",
        Condition("h", above=5.5, whole=True).told: "h >= 6",
        Condition("h", above=5.5, up_to=6.5, whole=True).told: "h = 6",
        Condition("h", above=5.5, up_to=8.5, whole=True).told: "6 <= h <= 8",
        Condition("w", value="").told: "w = (empty)",
        Condition("w", others=("rain", "snow")).told: "w is not rain or snow",
        Condition("w", missing=False).told: "w is there",
    }
    assert all(said == wanted for said, wanted in told.items())
