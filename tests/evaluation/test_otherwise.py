"""Rows that are answered wrong are asked for the right answer, and others for the one that somebody wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.evaluation.rows import HOUR, classes, values

from everloop.errors import UsageError
from everloop.evaluation import Answered
from everloop.evaluation.counterfactuals import Change
from everloop.evaluation.otherwise import otherwise, wanted_of, worst_otherwise
from everloop.evaluation.slices import slices

Inputs = Mapping[str, NDArray[Any]]


def by_score(inputs: Inputs) -> NDArray[np.float64]:
    second = 1 / (1 + np.exp(-inputs["score"].astype(np.float64)))
    return np.column_stack([1 - second, second])


def test_the_surest_errors_are_asked_for_the_true_label() -> None:
    rows = classes(500)
    told = worst_otherwise(rows, by_score, [], ())
    sure = np.where(by_score(rows.inputs).argmax(1) != rows.truth, np.abs(rows.inputs["score"]), 0.0)
    assert [one.row for one in told] == [f"row {place + 1}" for place in np.argsort(-sure)[:3]]
    first, place = told[0], int(sure.argmax())
    assert first.truth == rows.classes[rows.truth[place]] == first.wanted != first.answer.value
    (change,) = first.ways[0].changes
    assert (change.column, change.before) == ("score", rows.inputs["score"][place])
    beyond = rows.inputs["score"][np.sign(rows.inputs["score"]) != np.sign(change.before)]
    assert change.after == beyond[np.abs(beyond).argmin()], "the least that does it"
    assert worst_otherwise(rows, by_score, [], ("score",))[0].ways == [], "none is found without the score"


def test_the_rows_are_those_of_the_slice_that_fails_most() -> None:
    rows = values()
    truth = 100 + 3 * rows.inputs["hour"]
    exact = Answered("regression", (), rows.columns, rows.inputs, truth, rows.answers, rows.times, 24 * HOUR)

    def predict(inputs: Inputs) -> NDArray[np.float64]:
        night = (inputs["hour"] < 6) & (inputs["weather"] == "rain")
        return np.asarray(100 + 3 * inputs["hour"] + np.where(night, 50.0, 0.0), dtype=np.float64)

    worst = slices(exact)
    told = worst_otherwise(exact, predict, worst, ("hour",))
    assert len(told) == 3
    for one in told:
        assert one.where == worst[0].name
        assert isinstance(one.answer.value, float)
        assert one.answer.value == pytest.approx(one.truth + 50)
        assert one.wanted.startswith("within ")
        (way,) = one.ways
        assert way.changes in ([Change("weather", "rain", "clear")], [Change("weather", "rain", "snow")])
        assert way.answer.value == pytest.approx(one.truth)


def test_a_slice_that_is_answered_right_by_now_has_no_rows() -> None:
    rows = classes(300)
    right = np.eye(2)[rows.truth]
    assert worst_otherwise(rows, lambda _inputs: right, [], ()) == []


def test_one_row_is_asked_for_the_answer_that_somebody_wants() -> None:
    rows = classes(200)
    row = {"score": np.array([-1.0]), "group": np.array(["a"], dtype=object)}
    found = otherwise("row 7", row, rows, by_score, None, ())
    assert (found.row, found.answer.value, found.wanted, found.truth) == ("row 7", "no", "another label than no", None)
    assert found.ways[0].changes[0].column == "score"
    assert found.ways[0].answer.value == "yes"
    assert otherwise("row 7", row, rows, by_score, "yes", ()).ways == found.ways
    with pytest.raises(UsageError, match="row 8: the model's answer to it is no number"):
        otherwise("row 8", row, rows, lambda inputs: by_score(inputs) * np.nan, None, ())


def test_what_is_wanted_is_a_label_or_a_side_of_a_value() -> None:
    answers = np.array([1.0, 2.0, 3.0])
    above, words = wanted_of((), "above 2", 1.0)
    assert (above(answers).tolist(), words) == ([False, False, True], "above 2")
    assert wanted_of((), "below 2", 3.0)[0](answers).tolist() == [True, False, False]
    for asked, before, told in (
        (None, 2.0, r"a wanted answer is to be named: write --wanted 'above 2'"),
        ("more", 2.0, r"--wanted more: write --wanted 'above 2', or below"),
        ("above x", 2.0, r"--wanted above x: write"),
        ("above 1", 2.0, r"the answer 2 is that already"),
    ):
        with pytest.raises(UsageError, match=told):
            wanted_of((), asked, before)
    for asked, told in (
        ("yess", r"no label of the model \(did you mean 'yes'\?\)"),
        ("no", "that is the answer already"),
    ):
        with pytest.raises(UsageError, match=told):
            wanted_of(("no", "yes"), asked, np.array([0.9, 0.1]))
    label, _ = wanted_of((1, 2, 3), "3", np.array([0.9, 0.1, 0.0]))
    assert label(np.array([[0.1, 0.2, 0.7], [0.1, 0.7, 0.2]])).tolist() == [True, False]
