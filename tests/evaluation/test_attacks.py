"""Attacks find how far a boundary is where that is known, and report nothing that the model did not answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.evaluation.rows import HOUR

from everloop.errors import UsageError
from everloop.evaluation import Answered
from everloop.evaluation.attacks import ATTACKED, QUERIES, Attacked, attacked, check_attackable
from everloop.evaluation.movable import movable
from everloop.types import Column, Task

Inputs = Mapping[str, NDArray[Any]]
Predict = Callable[[Inputs], NDArray[np.float64]]
NUMBERS = (Column("a", "float64"), Column("b", "float64"), Column("idle", "float64"))


def two(second: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities of two classes, of which the second one's is 0 or 1."""
    return np.column_stack([1.0 - second, second]).astype(np.float64)


def line(inputs: Inputs) -> NDArray[np.float64]:
    return two(3 * inputs["a"] + 4 * inputs["b"] / 10 > 1)


def rows_of(
    inputs: dict[str, NDArray[Any]], predict: Predict, columns: tuple[Column, ...], task: Task = "classification"
) -> Answered:
    """Return rows that are answered right: values with an error of 2 each, classes without."""
    answers = predict(inputs)
    truth = answers.argmax(1) if task == "classification" else answers + 2.0
    times = np.arange(len(answers), dtype=np.float64) * HOUR
    return Answered(
        task, ("no", "yes") if task == "classification" else (), columns, inputs, truth, answers, times, 0.0
    )


def numbers(rows: int = 16) -> dict[str, NDArray[Any]]:
    """Return normal numbers; the first two rows lie far out, so that no way to the boundary leaves what was seen."""
    rng = np.random.default_rng(3)
    found = {"a": rng.normal(size=rows), "b": rng.normal(0, 10, rows), "idle": rng.normal(size=rows)}
    for name, far in (("a", 4.0), ("b", 40.0), ("idle", 4.0)):
        found[name][:2] = far, -far
    return found


def test_the_way_to_a_straight_boundary_is_its_true_distance() -> None:
    pytest.importorskip("art")
    inputs = numbers()
    rows = rows_of(inputs, line, NUMBERS)
    seen: list[int] = []
    found = attacked(rows, line, lambda done, _all: seen.append(done))
    moves = movable(NUMBERS, inputs)
    weights = np.array([3, 0.4, 0]) * moves.unit  # of a move by one spread
    true = np.abs(3 * inputs["a"] + 0.4 * inputs["b"] - 1) / np.linalg.norm(weights)
    assert (found.rows, found.flipped, seen[-1]) == (16, 16, 16)
    assert np.array(found.distances) == pytest.approx(np.sort(true), rel=0.06, abs=0.01)
    assert (np.array(found.distances) >= np.sort(true) - 1e-6).all(), "nothing flips before the boundary"
    assert found.within.value == pytest.approx((true <= found.bound).mean(), abs=0.05)
    assert found.within.low is not None
    assert found.quantiles["50%"] == pytest.approx(float(np.median(true)), rel=0.1)
    shares = {one.column: one.share.value for one in found.columns}
    assert shares["b"] == pytest.approx(float(weights[1] ** 2 / (weights**2).sum()), abs=0.06)
    assert shares["idle"] < 0.02
    assert found.asked <= 16 * QUERIES


def test_whole_numbers_stay_whole_gaps_gaps_and_texts_as_they_are() -> None:
    pytest.importorskip("art")
    rng = np.random.default_rng(0)
    inputs: dict[str, NDArray[Any]] = {
        "count": rng.integers(0, 20, 16).astype(np.float64),
        "gap": np.where(np.arange(16) % 2 == 0, np.nan, rng.normal(size=16)),
        "word": rng.choice(np.array(["x", "y"], dtype=object), 16),
        "same": np.ones(16),
    }
    asked: list[Inputs] = []

    def predict(inputs: Inputs) -> NDArray[np.float64]:
        asked.append(inputs)
        return two(inputs["count"] >= 8)

    columns = (*(Column(name, "float64") for name in ("count", "gap", "same")), Column("word", "string", "text"))
    found = attacked(rows_of(inputs, predict, columns), predict)
    unit = movable(columns, inputs).unit[0]
    steps = np.where(inputs["count"] >= 8, inputs["count"] - 7, 8 - inputs["count"])
    assert np.array(found.distances) == pytest.approx(np.sort(steps) / unit, abs=0.01)
    for one in asked:
        assert (one["count"] == np.round(one["count"])).all()
        assert set(one["same"]) == {1.0}
        if len(one["word"]) != 16:  # all of one row
            assert len(set(one["word"])) == 1
            assert len(set(np.isnan(one["gap"]))) == 1


def test_values_flip_where_they_move_by_more_than_the_usual_error() -> None:
    pytest.importorskip("art")
    found = attacked(
        rows_of(numbers(10), lambda inputs: 4.0 * inputs["a"], NUMBERS, "regression"), lambda inputs: 4.0 * inputs["a"]
    )
    assert found.flips == "the answer moves by more than 2"
    unit = movable(NUMBERS, numbers(10)).unit[0]
    assert found.distances == pytest.approx([0.5 / unit] * found.flipped, rel=0.05)
    assert found.columns[0].column == "a"


def test_images_are_moved_pixel_by_pixel() -> None:
    pytest.importorskip("art")
    rng = np.random.default_rng(0)
    image = Column("image", "uint8", "image", (4, 4, 1))
    inputs: dict[str, NDArray[Any]] = {"image": rng.integers(0, 256, (8, 4, 4, 1), dtype=np.uint8)}

    def predict(inputs: Inputs) -> NDArray[np.float64]:
        assert inputs["image"].dtype == np.uint8
        return two(inputs["image"].reshape(len(inputs["image"]), -1).mean(1) > 128)

    found = attacked(rows_of(inputs, predict, (image,)), predict)
    unit = movable((image,), inputs).unit[0]
    true = np.abs(inputs["image"].reshape(8, -1).mean(1) - 128) * 4 / unit  # 16 pixels, each by the same
    assert found.flipped == 8
    assert np.median(found.distances) == pytest.approx(np.median(true), rel=0.35)
    assert [one.column for one in found.columns] == ["image"]


def test_what_never_flips_is_farther_than_any() -> None:
    pytest.importorskip("art")

    def rare(inputs: Inputs) -> NDArray[np.float64]:
        return two((inputs["word"] == "x") & (inputs["a"] > -99))

    inputs = {**numbers(20), "word": np.array(["x", "y"] * 10, dtype=object)}
    found = attacked(rows_of(inputs, rare, (*NUMBERS, Column("word", "string", "categorical"))), rare)
    assert (found.flipped, found.within.value, found.columns, found.distances) == (0, 0.0, [], [])
    assert set(found.quantiles.values()) == {None}


def test_the_generator_that_all_share_is_left_as_it_was() -> None:
    pytest.importorskip("art")
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    found: Attacked = attacked(rows_of(numbers(3), line, NUMBERS), line)
    assert found.rows == 3 < ATTACKED
    assert np.random.random() == expected
    assert attacked(rows_of(numbers(3), line, NUMBERS), line) == found, "the same rows, the same figures"


def test_the_toolbox_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "art.attacks.evasion", None)
    with pytest.raises(UsageError, match=r"Adversarial Robustness Toolbox: pip install 'everloop\[adversarial\]'"):
        attacked(rows_of(numbers(3), line, NUMBERS), line)
    with pytest.raises(UsageError, match="pip install"):
        check_attackable(rows_of(numbers(3), line, NUMBERS))


def test_rows_that_cannot_be_attacked_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    words: dict[str, NDArray[Any]] = {"word": np.array(["x", "y"] * 10, dtype=object)}

    def by_word(inputs: Inputs) -> NDArray[np.float64]:
        return two(inputs["word"] == "x")

    rows = rows_of(words, by_word, (Column("word", "string", "text"),))
    with monkeypatch.context() as changed:
        changed.setitem(sys.modules, "art.attacks.evasion", None)  # nobody installs it in vain
        with pytest.raises(UsageError, match="no column holds numbers that vary"):
            check_attackable(rows)
    pytest.importorskip("art")
    check_attackable(rows_of(numbers(3), line, NUMBERS))
    with pytest.raises(UsageError, match="no column holds numbers that vary, or images"):
        attacked(rows, by_word)
    wrong = rows_of(numbers(20), line, NUMBERS)
    wrong.truth = 1 - wrong.truth
    with pytest.raises(UsageError, match="no row is answered right"):
        attacked(wrong, line)
