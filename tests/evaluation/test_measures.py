"""What gates may bound beyond metrics: intervals, slices, calibration, coverage; conditions joined, and one's own."""

from __future__ import annotations

from typing import Any

import pytest
from tests.evaluation.rows import classes, values
from tests.evaluation.test_explanations import linear, rows_of

from everloop.checks import Verdict
from everloop.errors import SettingsError, UsageError
from everloop.evaluation import Answered, GateEvidence, build_gate, own_check, own_checks, score
from everloop.evaluation.measures import MEASURES
from everloop.types import Column


def judge(gates: dict[str, Any], rows: Answered) -> Verdict:
    return build_gate(gates)(GateEvidence(score(rows.task, rows.truth, rows.answers), rows=rows))


def test_a_sure_bound_holds_the_whole_interval() -> None:
    rows = values()
    rmse = score(rows.task, rows.truth, rows.answers)["rmse"]
    near = {"max": rmse + 0.01}
    assert judge({"rmse": near}, rows).passed
    verdict = judge({"rmse": near | {"sure": True}}, rows)
    assert verdict.failed
    assert f"rmse {rmse:.4g} (" in verdict.reason
    assert verdict.reason.endswith(f"may be above {rmse + 0.01:.4g}")
    assert verdict.evidence["low"] < rmse < verdict.evidence["high"]
    assert judge({"rmse": {"max": 2 * rmse, "min": 0.0, "sure": True}}, rows).passed
    assert "is above" in judge({"rmse": {"max": rmse / 2, "sure": True}}, rows).reason
    assert judge({"rmse": {"max": 99, "sure": True}}, values(2)).outcome == "inconclusive"


def test_the_slice_that_fails_most_is_bounded_and_named() -> None:
    rows = values()
    verdict = judge({"worst_slice": {"max": 3.0}}, rows)
    assert verdict.failed
    assert set(verdict.evidence["where"].split(" and ")) == {"hour <= 5", "weather = rain"}
    assert verdict.evidence["where"] in verdict.reason
    assert verdict.evidence["value"] > 6
    assert judge({"worst_slice": {"max": 20.0}}, rows).passed
    few = judge({"worst_slice": {"max": 3.0}}, values(60))
    assert (few.outcome, few.evidence["value"]) == ("inconclusive", None)


def test_texts_alone_make_no_slices() -> None:
    rows = values()
    columns, inputs = (Column("note", "string", "text"),), {"note": rows.inputs["weather"]}
    texts = Answered(rows.task, (), columns, inputs, rows.truth, rows.answers, rows.times, rows.block)
    assert judge({"worst_slice": {"max": 3.0}}, texts).outcome == "inconclusive"


def test_calibration_and_coverage_are_bounded() -> None:
    assert judge({"calibration_error": {"max": 0.03}}, classes()).passed
    assert judge({"calibration_error": {"max": 0.03}}, classes(sharper=3.0)).failed
    assert judge({"coverage": {"min": 0.85, "max": 0.95}}, values()).passed
    assert judge({"coverage": {"min": 0.85}}, classes()).outcome == "inconclusive"


def test_one_of_several_tables_is_enough() -> None:
    rows = values()
    either = [{"rmse": {"max": 0.1}}, {"rmse": {"max": 100}, "r2": {"min": 0.0}}]
    verdict = judge({"mae": {"max": 100}, "any": either}, rows)
    assert verdict.passed
    assert [leaf.check for leaf in verdict.leaves] == ["mae", "rmse", "rmse", "r2"]
    assert judge({"any": [{"rmse": {"max": 0.1}}, {"mae": {"max": 0.1}}]}, rows).failed


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        ({"rmse": {"sure": True}}, "rmse = "),
        ({"rmse": {"max": 1, "sure": 1}}, "rmse = "),
        ({"worst_slise": {"max": 1}}, "did you mean 'worst_slice'"),
        ({"any": [{"rmse": {"max": 1}}]}, "two tables of conditions"),
        ({"any": [{"own": ["a:b"]}, {"rmse": {"max": 1}}]}, "stand in"),
        ({"any": [{"rmse": {"max": "x"}}, {"mae": {"max": 1}}]}, "rmse = "),
        ({"own": "gates"}, "a list of functions"),
        ({"own": ["gates"]}, "a list of functions"),
    ],
)
def test_a_wrong_table_is_told(gates: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        build_gate(gates)


def test_a_function_of_the_project_is_a_condition() -> None:
    def late_hours(evidence: GateEvidence) -> Verdict:
        assert evidence.rows is not None
        late = evidence.rows.take(evidence.rows.inputs["hour"] > 20)
        worst = float(late.losses.max())
        return Verdict("late_hours", "pass" if worst < 1e6 else "fail", f"largest loss {worst:.0f}", {"value": worst})

    rows = values()
    assert own_checks({"own": ["gates:late_hours"]}) == ("gates:late_hours",)
    checks = [own_check("gates:late_hours", late_hours)]
    verdict = build_gate({"rmse": {"max": 100}, "own": ["gates:late_hours"]}, checks)(
        GateEvidence(score(rows.task, rows.truth, rows.answers), rows=rows)
    )
    assert [leaf.check for leaf in verdict.leaves] == ["rmse", "late_hours"]
    assert verdict.passed
    with pytest.raises(UsageError, match=r"'gates:wrong' returned bool, not an everloop.checks.Verdict"):
        own_check("gates:wrong", lambda _: True)(GateEvidence({}))


def test_every_measure_tells_something_of_one_of_the_tasks() -> None:
    numbers, labels = values(), classes()
    numbers.sensitive, labels.sensitive = ("weather",), ("group",)
    for name in MEASURES:
        told = [judge({name: {"min": 0.0}}, rows).evidence["value"] for rows in (numbers, labels)]
        assert any(value is not None for value in told), name


def test_what_only_the_model_tells_is_bounded_where_it_can_be_asked() -> None:
    rows = rows_of()
    evidence = GateEvidence(score(rows.task, rows.truth, rows.answers), rows=rows, predict=linear)
    noise = build_gate({"robustness": {"max": 0.5, "sure": True}})(evidence)
    assert noise.failed
    assert noise.evidence["where"] == "noise in all numbers"
    assert noise.evidence["value"] == pytest.approx(1.04, rel=0.2), "a tenth of 10 and of 3, over errors of 1"
    assert build_gate({"robustness": {"max": 2.0, "sure": True}})(evidence).passed
    share = build_gate({"largest_share": {"max": 0.5}})(evidence)
    assert (share.failed, share.evidence["where"]) == (True, "a")
    assert build_gate({"largest_share": {"max": 0.9}})(evidence).passed
    unasked = GateEvidence(evidence.metrics, rows=rows)
    told = build_gate({"robustness": {"max": 9}})(unasked)
    assert (told.outcome, told.reason) == (
        "inconclusive",
        "robustness was not measured: this kind of model or of columns is not asked, or gave no usable answer",
    )
    with pytest.raises(SettingsError, match="largest_share has no interval that sure = true could bound"):
        build_gate({"largest_share": {"max": 0.5, "sure": True}})
