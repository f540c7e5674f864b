"""The algebra of checks: `&` needs all, `|` needs one, and inconclusive is neither."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.checks import Check, Outcome, Verdict

OUTCOMES = st.sampled_from(get_args(Outcome))


def constant(outcome: Outcome) -> Check[None]:
    return Check(outcome, lambda _: Verdict(outcome, outcome, f"because {outcome}"))


@given(OUTCOMES, OUTCOMES)
def test_and_passes_only_when_both_pass_and_fails_when_one_fails(a: Outcome, b: Outcome) -> None:
    verdict = (constant(a) & constant(b))(None)
    assert verdict.passed == (a == b == "pass")
    assert verdict.failed == ("fail" in (a, b))


@given(OUTCOMES, OUTCOMES)
def test_or_mirrors_and(a: Outcome, b: Outcome) -> None:
    mirror: dict[Outcome, Outcome] = {"pass": "fail", "fail": "pass", "inconclusive": "inconclusive"}
    either = (constant(a) | constant(b))(None).outcome
    both = (constant(mirror[a]) & constant(mirror[b]))(None).outcome
    assert either == mirror[both]


def test_a_joined_verdict_keeps_its_parts_and_gives_the_telling_reason() -> None:
    verdict = (constant("pass") & constant("fail"))(None)
    assert [p.outcome for p in verdict.parts] == ["pass", "fail"]
    assert verdict.reason == "because fail"


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_parts_are_evaluated_even_when_the_first_decides(outcome: Outcome) -> None:
    verdict = (constant("fail") & constant(outcome))(None)
    assert len(verdict.parts) == 2


def test_the_name_of_a_joined_check_reads_as_it_is_judged() -> None:
    a, b, c = (Check[None](name, lambda _: Verdict("", "pass", "")) for name in "abc")
    names = [one.name for one in ((a | b) & c, a | b | c, (a & b & c) | a, a & b & (a | c))]
    assert names == ["(a or b) and c", "a or b or c", "(a and b and c) or a", "a and b and (a or c)"]
