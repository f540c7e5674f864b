"""The fewest changes are found where they are known, and every value of them was seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from everloop.errors import UsageError
from everloop.evaluation.counterfactuals import Change, Said, changeable, counterfactuals, said
from everloop.types import Column, Prepare

Inputs = Mapping[str, NDArray[Any]]
CLASSES = ("no", "yes")


def two(second: NDArray[Any]) -> NDArray[np.float64]:
    return np.column_stack([np.where(second, 0.2, 0.9), np.where(second, 0.8, 0.1)])


def pool(rows: int = 300) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    return {
        "a": rng.integers(0, 20, rows).astype(np.float64),
        "b": rng.normal(size=rows),
        "word": rng.choice(np.array(["x", "y", "z"], dtype=object), rows),
        "flag": rng.integers(0, 2, rows).astype(np.bool_),
    }


def one(**values: Any) -> dict[str, NDArray[Any]]:
    own = {"a": 3.0, "b": 0.0, "word": "y", "flag": False} | values
    return {n: np.array([v], dtype=object if isinstance(v, str) else None) for n, v in own.items()}


def either(inputs: Inputs) -> NDArray[np.float64]:
    """Yes where a is 8 or more, or the word is x and the flag set."""
    return two((inputs["a"] >= 8) | ((inputs["word"] == "x") & inputs["flag"].astype(np.bool_)))


def yes(answers: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(answers.argmax(1) == 1)


def test_the_fewest_changes_come_first_and_go_no_farther_than_needed() -> None:
    free = ["a", "b", "word", "flag"]
    first, second = counterfactuals(one(), pool(), either(pool()), either, yes, free, CLASSES)
    assert first.changes == [Change("a", 3.0, 8.0)]
    assert first.answer == Said("yes", 0.8)
    assert second.changes == [Change("word", "y", "x"), Change("flag", False, True)]


def test_what_is_kept_stays_and_none_found_is_none() -> None:
    (only,) = counterfactuals(one(), pool(), either(pool()), either, yes, ["b", "word", "flag"], CLASSES)
    assert [change.column for change in only.changes] == ["word", "flag"]
    assert counterfactuals(one(), pool(), either(pool()), either, yes, ["b", "word"], CLASSES) == []
    few = {name: values[pool()["a"] < 8] for name, values in pool().items()}
    rare = {name: values[~yes(either(few))] for name, values in few.items()}
    assert counterfactuals(one(), rare, either(rare), either, yes, ["a", "word", "flag"], CLASSES) == []


def test_values_come_from_rows_and_nothing_becomes_missing() -> None:
    rows = pool()
    rows["b"] = np.where(np.arange(300) % 3 == 0, np.nan, rows["b"])
    asked: list[Inputs] = []

    def value(inputs: Inputs) -> NDArray[np.float64]:
        asked.append(inputs)
        return np.nan_to_num(inputs["b"], nan=2.0) * 10

    def high(answers: NDArray[np.float64]) -> NDArray[np.bool_]:
        return answers > 15

    (way,) = counterfactuals(one(), rows, value(rows), value, high, ["a", "b", "word"])
    least = rows["b"][rows["b"] > 1.5].min()
    assert way.changes == [Change("b", 0.0, least)], "the nearest real value that does it"
    assert way.answer == Said(float(least * 10))
    assert not any(np.isnan(seen["b"]).any() for seen in asked[1:])
    (gap,) = counterfactuals(
        one(b=np.nan), rows, value(rows), value, lambda answers: answers < 0, ["a", "b", "word"]
    )  # fmt: skip
    assert gap.changes[0].before is None
    assert gap.changes[0].after < 0


def test_a_number_that_lies_otherwise_comes_near_from_its_own_side() -> None:
    ways = counterfactuals(
        one(a=17.0), pool(), either(pool()), either, lambda answers: ~yes(answers), ["a", "b"], CLASSES
    )
    assert ways[0].changes == [Change("a", 17.0, 7.0)]


def test_texts_and_images_never_change() -> None:
    columns = (
        Column("n", "float64"), Column("w", "string", "categorical"), Column("t", "string", "text"),
        Column("i", "uint8", "image", (8, 8, 1), prepare=Prepare("image", 1)), Column("s", "float64"),
    )  # fmt: skip
    assert changeable(columns, ("s",)) == ["n", "w"]
    with pytest.raises(UsageError, match="no column may change: texts, images and videos never do"):
        changeable(columns[2:], ("s",))


def test_an_answer_is_said_as_a_person_reads_it() -> None:
    assert said(np.array([0.3, 0.7]), CLASSES) == Said("yes", 0.7)
    assert said(np.float64(4.5), ()) == Said(4.5)
