"""Groups are compared as fairlearn compares them, with intervals of our own."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluation.rows import classes, values

from everloop.evaluation import Answered, GateEvidence, build_gate, score
from everloop.evaluation.fairness import fairness, groups_of


def unfair(sensitive: tuple[str, ...] = ("group",)) -> Answered:
    """Return rows of two classes of which group b is selected far too often, and three rows of a group c."""
    rows = classes()
    group = rows.inputs["group"].copy()
    group[:3] = "c"
    odds = rows.answers[:, 1] / rows.answers[:, 0] * np.where(group == "b", 6.0, 1.0)
    second = odds / (1 + odds)
    answers, inputs = np.column_stack([1 - second, second]), rows.inputs | {"group": group}
    return Answered(
        rows.task, rows.classes, rows.columns, inputs, rows.truth, answers, rows.times, 0.0, sensitive
    )  # fmt: skip


def test_groups_are_compared_as_fairlearn_compares_them() -> None:
    from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

    rows = unfair()
    (found,) = fairness(rows)
    assert (found.column, [one.name for one in found.groups], found.left_out) == ("group", ["a", "b"], ["c"])
    assert sum(one.rows for one in found.groups) == len(rows) - 3
    kept = rows.take(np.arange(3, len(rows)))
    said, group = kept.answers.argmax(1), kept.inputs["group"].astype(str)
    parity = found.differences["selection rate"]
    assert parity.value == pytest.approx(demographic_parity_difference(kept.truth, said, sensitive_features=group))
    odds = max(found.differences[f"{name} positive rate"].value for name in ("true", "false"))
    assert odds == pytest.approx(equalized_odds_difference(kept.truth, said, sensitive_features=group))
    for one in found.differences.values():
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high
    assert parity.low is not None
    assert parity.low > 0.2


def test_values_are_compared_by_their_errors() -> None:
    rows = values()
    rows.sensitive = ("weather", "hour", "absent")
    weather, hour = fairness(rows)
    assert [one.name for one in weather.groups] == ["clear", "rain", "snow"]
    assert [one.name for one in hour.groups] == ["0 to 5", "5 to 11", "11 to 17", "17 to 23"]
    rain = weather.groups[1].figures["mean absolute error"]
    assert weather.differences["mean absolute error"].value == pytest.approx(
        rain - min(one.figures["mean absolute error"] for one in weather.groups)
    )


def test_nothing_is_told_where_nothing_is_sensitive() -> None:
    assert fairness(classes()) == []


def test_how_rows_are_grouped() -> None:
    assert groups_of(np.array(["x", "", "x"], dtype=object)).tolist() == ["x", "(empty)", "x"]
    assert groups_of(np.array([1.0, 0.0, np.nan])).tolist() == ["1", "0", "missing"]
    found = groups_of(np.arange(100.0))
    assert np.unique(found.astype(str), return_counts=True)[1].tolist() == [25, 25, 25, 25]
    assert groups_of(np.array([True, False])).tolist() == ["True", "False"]


def test_differences_are_gates() -> None:
    rows = unfair()
    evidence = GateEvidence(score(rows.task, rows.truth, rows.answers), rows=rows)
    verdict = build_gate({"selection_difference": {"max": 0.1}})(evidence)
    assert verdict.failed
    assert verdict.evidence["where"] == "selection rate by group"
    assert build_gate({"odds_difference": {"max": 0.1}})(evidence).failed
    assert build_gate({"error_difference": {"max": 0.5}})(evidence).passed
    unsaid = GateEvidence(evidence.metrics, rows=unfair(()))
    assert build_gate({"selection_difference": {"max": 0.1}})(unsaid).outcome == "inconclusive"
