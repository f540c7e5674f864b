"""Odd rows that get no number are found, and a change that moves answers otherwise than declared is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from everloop.errors import RequestError, SettingsError
from everloop.evaluation.behaviour import Arrays, met, odd_answers, words_of
from everloop.settings import Expectation
from everloop.types import Column, Prepare

INPUTS = (
    Column("heat", "float64"),
    Column("rooms", "int64"),
    Column("city", "string", "categorical", categories=("Bonn", "Oslo")),
)
ROWS: dict[str, NDArray[np.generic]] = {
    "heat": np.array([1.0, 2.0, 3.0]),
    "rooms": np.array([1, 2, 3]),
    "city": np.array(["Bonn", "Oslo", "Bonn"], dtype=object),
}


def price(arrays: Arrays) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 10 * arrays["heat"] - arrays["rooms"] + 5 * (arrays["city"] == "Oslo")
    return found


def test_every_kind_of_odd_row_is_asked_and_what_is_no_number_is_named() -> None:
    assert odd_answers("zeros", INPUTS, ROWS, price) == (12, 0, 0, "")
    assert odd_answers("extreme values", INPUTS, ROWS, price).wrong == 0
    missing = odd_answers("missing values", INPUTS, ROWS, price)
    assert missing == (9, 0, 6, "heat = nan: the answer is nan")

    def roots(arrays: Arrays) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return np.sqrt(arrays["rooms"].astype(np.float64))

    extreme = odd_answers("extreme values", INPUTS, ROWS, roots)
    assert extreme.first == "rooms = -19: the answer is nan"
    assert extreme.wrong == 6


def test_what_guards_refuse_is_no_answer() -> None:
    def refused(arrays: Arrays) -> NDArray[np.float64]:
        if np.isnan(arrays["heat"]).any():
            raise RequestError("heat is missing")
        return price(arrays)

    assert odd_answers("missing values", INPUTS, ROWS, refused) == (3, 6, 0, "")


@pytest.mark.parametrize(
    ("told", "share", "moved"),
    [
        ({"column": "heat", "change": "+0.5", "expect": "up"}, 1.0, 5.0),
        ({"column": "heat", "change": "+0.5", "expect": "down"}, 0.0, 5.0),
        ({"column": "heat", "change": "*2", "expect": "up"}, 1.0, 20.0),
        ({"column": "rooms", "change": "- 1", "expect": "up"}, 1.0, 1.0),
        ({"column": "rooms", "change": "=1", "expect": "same"}, 1 / 3, 1.0),
        ({"column": "rooms", "change": "=1", "expect": "same", "tolerance": 1.0}, 2 / 3, 1.0),
        ({"column": "city", "change": "=Oslo", "expect": "same"}, 1 / 3, 10 / 3),
        ({"column": "city", "change": "upper", "expect": "same"}, 2 / 3, -5 / 3),
        ({"column": "city", "change": "+ (north)", "expect": "down"}, 1.0, -5 / 3),
    ],
)
def test_answers_are_held_against_what_is_expected(told: dict[str, str], share: float, moved: float) -> None:
    found = met(Expectation(**told), INPUTS, (), ROWS, price)  # type: ignore[arg-type]
    assert found.share == pytest.approx(share)
    assert found.moved == pytest.approx(moved)
    assert (found.first == "") == (share == 1.0)


def test_the_first_broken_row_is_told() -> None:
    found = met(Expectation(column="city", change="=Oslo"), INPUTS, (), ROWS, price)
    assert found.first == "'Bonn' becomes 'Oslo': 9 moves by +5"
    assert words_of(Expectation(column="city", change="=Oslo")) == "city =Oslo: same"


def test_a_class_is_looked_at_by_its_name() -> None:
    def chances(arrays: Arrays) -> NDArray[np.float64]:
        yes = 1 / (1 + np.exp(-arrays["heat"]))
        return np.column_stack([1 - yes, yes])

    up = {"column": "heat", "change": "+1", "expect": "up"}
    for label, share in ((None, 1.0), ("yes", 1.0), ("no", 0.0)):
        told = Expectation(**up, label=label)  # type: ignore[arg-type]
        assert met(told, INPUTS, ("no", "yes"), ROWS, chances).share == share


def test_an_answer_that_is_no_number_never_meets_an_expectation() -> None:
    def gone(arrays: Arrays) -> NDArray[np.float64]:
        return np.where(arrays["heat"] > 3, np.nan, arrays["heat"])

    found = met(Expectation(column="heat", change="+1", expect="up"), INPUTS, (), ROWS, gone)
    assert found.share == pytest.approx(2 / 3)
    assert found.first.endswith("moves by +nan")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"column": "heet", "change": "+1"}, r"'heet' is no input \(did you mean 'heat'\?\)"),
        ({"column": "heat", "change": "more"}, "write '\\+2'"),
        ({"column": "heat", "change": "+much"}, "write a number"),
        ({"column": "heat", "change": "=much"}, "write a number"),
        ({"column": "city", "change": "*2"}, "'upper' or 'lower'"),
        ({"column": "photo", "change": "=1"}, "images cannot be changed so"),
        ({"column": "heat", "change": "+1", "label": "yess"}, "'yess' is no class .did you mean 'yes'"),
    ],
)
def test_what_is_declared_wrongly_is_one_sentence(told: dict[str, str], words: str) -> None:
    inputs = (*INPUTS, Column("photo", "uint8", "image", (2, 2, 1), prepare=Prepare("image", 1)))
    with pytest.raises(SettingsError, match=words):
        met(Expectation(**told), inputs, ("no", "yes") if "label" in told else (), ROWS, price)  # type: ignore[arg-type]
