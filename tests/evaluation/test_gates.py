from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from everloop.checks import Verdict
from everloop.errors import SettingsError
from everloop.evaluation import METRICS, GateEvidence, build_gate


def judge(gates: dict[str, Any], metrics: dict[str, float] | None = None, **blocks: Any) -> Verdict:
    return build_gate(gates)(GateEvidence(metrics or {}, **blocks))


def test_no_gate_passes_and_says_so() -> None:
    for gates in ({}, {"beats_champion": False}):
        verdict = judge(gates)
        assert (verdict.outcome, verdict.reason) == ("pass", "the project file sets no gate")


@pytest.mark.parametrize(
    ("bounds", "outcome", "reason"),
    [
        ({"max": 60}, "pass", "rmse 58 is not above 60"),
        ({"max": 58}, "pass", "rmse 58 is not above 58"),
        ({"min": 50, "max": 60}, "pass", "rmse 58 is not below 50 and not above 60"),
        ({"max": 57.5}, "fail", "rmse 58 is above 57.5"),
        ({"min": 60}, "fail", "rmse 58 is below 60"),
        ({"min": 59, "max": 60}, "fail", "rmse 58 is below 59"),
    ],
)
def test_a_metric_is_held_within_bounds(bounds: dict[str, float], outcome: str, reason: str) -> None:
    verdict = judge({"rmse": bounds}, {"rmse": 58.0})
    assert (verdict.check, verdict.outcome, verdict.reason) == ("rmse", outcome, reason)
    assert verdict.evidence == {"value": 58.0, "min": bounds.get("min"), "max": bounds.get("max")}


def test_a_metric_that_was_not_measured_fails() -> None:
    verdict = judge({"accuracy": {"min": 0.5}}, {"rmse": 58.0})
    assert (verdict.outcome, verdict.reason) == (
        "fail",
        "accuracy was not measured: it belongs to another task, or these rows do not tell it",
    )
    assert judge({"rmse": {"max": 60}}, {"rmse": float("nan")}).failed


def test_all_gates_must_pass_and_the_failing_ones_are_told() -> None:
    gates = {"rmse": {"max": 60}, "mae": {"max": 10}, "r2": {"min": 0.9}, "beats_champion": True}
    verdict = judge(gates, {"rmse": 58.0, "mae": 12.0, "r2": 0.5})
    assert (verdict.outcome, verdict.reason) == ("fail", "mae 12 is above 10; r2 0.5 is below 0.9")
    assert judge(gates, {"rmse": 58.0, "mae": 9.0, "r2": 0.95}).passed


def test_every_metric_can_be_a_gate() -> None:
    assert judge({name: {"min": 0.0} for name in METRICS}, dict.fromkeys(METRICS, 0.5)).passed


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        ({"rsme": {"max": 1}}, r"\[gates\] unknown metric 'rsme' \(did you mean 'rmse'\?\)"),
        ({"beat_champion": True}, r"unknown metric 'beat_champion' \(did you mean 'beats_champion'\?\)"),
        ({"beats_champion": 1}, r"beats_champion = 1: write true or false"),
        ({"rmse": 60}, r"rmse = 60: write \{ min = \.\.\. \}"),
        ({"rmse": {}}, r"rmse = \{\}: write"),
        ({"rmse": {"maximum": 60}}, r"rmse = \{'maximum': 60\}: write"),
        ({"rmse": {"max": "60"}}, r"rmse = \{'max': '60'\}: write"),
        ({"rmse": {"max": True}}, r"rmse = \{'max': True\}: write"),
        ({"rmse": {"max": float("nan")}}, r"rmse = \{'max': nan\}: write"),
        ({"rmse": {"min": 60, "max": 50}}, r"rmse = \{'min': 60, 'max': 50\}: no value lies within"),
    ],
)
def test_a_gate_that_cannot_be_understood_is_refused(gates: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        build_gate(gates)


# Against the champion

OLD = tuple(np.linspace(9.0, 11.0, 20))


def beats(candidate: Any, champion: Any) -> Verdict:
    return judge({"beats_champion": True}, candidate=tuple(candidate), champion=champion)


def test_the_first_model_has_nothing_to_beat() -> None:
    verdict = beats((), None)
    assert (verdict.outcome, verdict.reason) == ("pass", "no champion yet")


def test_a_better_candidate_and_a_tie_pass() -> None:
    verdict = beats(np.array(OLD) * 0.9, OLD)
    assert verdict.passed
    assert verdict.reason == "loss 9 against the champion's 10 on 20 blocks"
    assert verdict.evidence["gain"] == pytest.approx(1.0)
    low, high = verdict.evidence["interval"]
    assert 0 < low < 1 < high
    noise = np.random.default_rng(0).normal(0, 1, 20)
    assert beats(np.array(OLD) + noise - noise.mean() + 0.05, OLD).passed


def test_a_candidate_that_answers_as_the_champion_does_passes() -> None:
    assert beats(OLD, OLD).passed
    assert beats(OLD[:1], OLD[:1]).passed


def test_a_candidate_worse_beyond_doubt_fails() -> None:
    verdict = beats(np.array(OLD) * 1.1, OLD)
    assert verdict.failed
    assert verdict.evidence["candidate"] > verdict.evidence["champion"]


def test_one_block_or_none_says_too_little() -> None:
    verdict = beats((2.0,), (1.0,))
    told = "loss 2 against the champion's 1 on 1 blocks: one block leaves every doubt"
    assert (verdict.outcome, verdict.reason) == ("inconclusive", told)
    assert "interval" not in verdict.evidence
    assert beats((1.0,), (2.0,)).passed
    verdict = beats((), ())
    assert (verdict.outcome, verdict.reason) == ("inconclusive", "no rows that the champion was not trained on")
    joined = judge({"beats_champion": True, "rmse": {"max": 1}}, {"rmse": 0.5}, candidate=(), champion=())
    assert joined.outcome == "inconclusive"
    assert judge({"beats_champion": True, "rmse": {"max": 1}}, {"rmse": 2.0}, candidate=(), champion=()).failed
