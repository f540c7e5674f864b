"""Calibration, errors over time, the comparison of two models, and all of it together."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluation.rows import HOUR, classes, values

from everloop.evaluation import Answered, evaluate, paired, score
from everloop.evaluation.calibration import calibration
from everloop.evaluation.over_time import over_time


def shifted(rows: Answered, by: float) -> Answered:
    answers = rows.answers + by
    return Answered(
        rows.task, rows.classes, rows.columns, rows.inputs, rows.truth, answers, rows.times, rows.block
    )  # fmt: skip


def test_right_probabilities_are_calibrated_and_sure_ones_are_not() -> None:
    right, sure = calibration(classes()), calibration(classes(sharper=3.0))
    assert right.of == "probability of yes"
    assert right.error.value < 0.03 < 0.08 < sure.error.value
    assert sure.bins[0].true.value > sure.bins[0].said
    assert sum(one.rows for one in right.bins) == 4000
    covers = [one.true.low <= one.said <= one.true.high for one in right.bins if one.true.low and one.true.high]
    assert sum(covers) >= 8
    assert right.coverage is None


def test_values_are_calibrated_by_tenths_and_their_range_covers() -> None:
    found, off = calibration(values()), calibration(shifted(values(), 20.0))
    assert found.of == "value"
    assert off.error.value == pytest.approx(20.0, abs=1.5)
    assert found.coverage is not None
    assert found.coverage.covered.value == pytest.approx(0.9, abs=0.03)
    assert off.coverage is not None
    assert off.coverage.high < 0


def test_a_model_that_ages_is_seen_over_time() -> None:
    rows = values(24 * 100)
    rows.answers[24 * 50 :] += 30.0
    told = over_time(rows)
    assert 30 <= len(told) <= 60
    assert sum(one.rows for one in told) == 24 * 100
    assert abs(np.mean([p.bias for p in told[:20] if p.bias is not None])) < 2
    assert np.mean([p.bias for p in told[-20:] if p.bias is not None]) == pytest.approx(30, abs=2)
    assert told[-1].metric > 2 * told[0].metric
    assert told[0].end < told[1].start


def test_few_rows_make_few_stretches() -> None:
    assert [one.rows for one in over_time(classes(40))] == [10, 10, 10, 10]
    assert [one.rows for one in over_time(classes(7))] == [7]


def test_two_models_are_compared_on_the_same_rows() -> None:
    rows = values()
    found = paired(rows, shifted(rows, 10.0), "v1")
    assert found.name == "rmse"
    assert found.lower_by.value == pytest.approx(100, abs=8)
    assert found.lower_by.low is not None
    assert found.lower_by.low > 80
    assert found.difference.value == pytest.approx(found.rival_metric.value - found.metric.value)
    assert found.won > 0.95
    same = paired(rows, rows, "v1")
    assert (same.lower_by.value, same.won) == (0.0, 0.0)


def test_an_evaluation_holds_all_of_it() -> None:
    rows = values(24 * 60)
    found = evaluate(rows)
    assert {name: one.value for name, one in found.metrics.items()} == score("regression", rows.truth, rows.answers)
    assert (found.rows, found.blocks, found.block) == (24 * 60, 60, 24 * HOUR)
    assert all(one.low is not None and one.low <= one.value for one in found.metrics.values())
    assert evaluate(values(24 * 60)) == found, "the same rows, the same figures"
    assert set(evaluate(classes(600)).metrics) == {"log_loss", "accuracy", "brier", "f1", "roc_auc"}
