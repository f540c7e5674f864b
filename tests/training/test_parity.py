from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import OneHotEncoder
from tests.training.tables import exported, made
from tests.training.test_export import piped

from everloop.errors import ParityError
from everloop.training import check_parity

ENCODER = OneHotEncoder(handle_unknown="ignore")


def test_equal_answers_pass_with_their_figures() -> None:
    rows, schema = made()
    graph, answers = exported(piped(LinearRegression(), ENCODER), rows, schema)
    figures = check_parity(graph, answers, rows, schema.inputs, "regression", 1.0)
    assert (figures["rows"], figures["share"]) == (300.0, 0.0)
    assert figures["largest"] < 1e-3


def test_a_graph_that_answers_otherwise_is_refused() -> None:
    rows, schema = made()
    graph, answers = exported(piped(LinearRegression(), ENCODER), rows, schema)
    told = r"^the ONNX graph differs from the estimator on 100\.00% of 300 rows \(largest 0\.5 of the target's spread"
    with pytest.raises(ParityError, match=told) as caught:
        check_parity(graph, answers + 1.0, rows, schema.inputs, "regression", 2.0)
    assert "\n" not in str(caught.value)
    other, _ = exported(piped(LinearRegression(), ENCODER), rows.assign(y=-rows["y"]), schema)
    with pytest.raises(ParityError):
        check_parity(other, answers, rows, schema.inputs, "regression", float(rows["y"].std()))


def test_a_graph_that_does_not_run_is_refused_with_the_way_out() -> None:
    rows, schema = made()
    graph, answers = exported(piped(LinearRegression(), ENCODER), rows, schema)
    for broken, inputs in ((graph[:50], schema.inputs), (graph, schema.inputs[:-1])):
        with pytest.raises(ParityError, match=r'does not answer the rows it was trained on .*say runtime = "native"'):
            check_parity(broken, answers, rows, inputs, "regression", 1.0)


def test_probabilities_are_compared_not_labels() -> None:
    rows, schema = made(("no", "yes"))
    graph, answers = exported(piped(LogisticRegression(), ENCODER), rows, schema)
    flatter = 0.01 / 2 + 0.99 * answers
    with pytest.raises(ParityError, match="of probability, allowed 0.1%".replace(".", r"\.")):
        check_parity(graph, flatter, rows, schema.inputs, "classification", 1.0)


def test_one_row_in_a_thousand_may_differ() -> None:
    rows, schema = made(rows=2000)
    graph, answers = exported(piped(LinearRegression(), ENCODER), rows, schema)
    answers[:2] += 100.0
    figures = check_parity(graph, answers, rows, schema.inputs, "regression", 1.0)
    assert (figures["share"], round(figures["largest"])) == (0.001, 100)
    answers[2] += 100.0
    with pytest.raises(ParityError, match=r"on 0\.15% of 2000 rows"):
        check_parity(graph, answers, rows, schema.inputs, "regression", 1.0)


def test_an_answer_that_is_no_number_differs() -> None:
    rows, schema = made()
    graph, answers = exported(piped(LinearRegression(), ENCODER), rows, schema)
    with pytest.raises(ParityError, match=r"on 100\.00% of 300 rows"):
        check_parity(graph, np.full_like(answers, np.nan), rows, schema.inputs, "regression", 1.0)


def test_a_constant_target_has_no_spread() -> None:
    rows, schema = made()
    graph, answers = exported(piped(LinearRegression(), ENCODER), rows, schema)
    assert check_parity(graph, answers, rows, schema.inputs, "regression", 0.0)["share"] == 0.0
