"""Which triggers act alone and which together, and what holds them."""

from __future__ import annotations

import pytest
from tests.test_settings import SMALL

from everloop.errors import SettingsError
from everloop.settings import Triggers, parse
from everloop.triggers import Book, Occurrence, Ruling, TriggerState, decide, rearm, rules_of, see_signals
from everloop.types import Signal

DAY = 86_400.0


def triggers(text: str) -> Triggers:
    return parse(f"{SMALL}[triggers]\n{text}\n").triggers


def rule(text: str, *seen: str, **state: object) -> Ruling:
    known = {"time": 100 * DAY, "signals": {}, "occurrences": {n: Occurrence(f"{n}!", 99 * DAY) for n in seen}}
    return decide(rules_of(triggers(text)), TriggerState(**{**known, **state}))[-1]  # type: ignore[arg-type]


def signal(name: str, value: float) -> Signal:
    return Signal(name, 1.0, value, 0.1, value >= 0.1, 0.0, 1.0)


def test_a_trigger_acts_by_itself_and_says_why() -> None:
    found = rule("code = true", "code")
    assert found.verdict.passed
    assert found.verdict.reason == "code!; no rollout under way; 0 of 24 retrainings of 1 days used"


@pytest.mark.parametrize(
    ("text", "state", "told"),
    [
        ("code = { cooldown = '2d' }", {"last": {"code": 99 * DAY}}, "the cooldown of code lasts until 1970-04-12"),
        ("code = { debounce = '3d' }", {}, "code waits for quiet until 1970-04-13"),
        ("code = true", {"rollout": "r-1"}, "rollout r-1 is being judged"),
        ("code = true\nbudget = 2", {"retrainings": (99.5 * DAY, 99.6 * DAY)}, "all 2 retrainings of 1 days are used"),
    ],
)
def test_what_holds_a_trigger(text: str, state: dict[str, object], told: str) -> None:
    found = rule(text, "code", **state)
    assert found.verdict.failed
    assert found.verdict.reason.startswith(told)


def test_two_triggers_act_together_only() -> None:
    text = "data_drift = true\nnew_labels = true\ncode = true\nwhen = 'data_drift & new_labels'"
    assert [r.name for r in rules_of(triggers(text))] == ["code", "data_drift & new_labels"]
    assert rule(text, "data_drift").verdict.reason == "new_labels saw nothing"
    together = rule(text, "data_drift", "new_labels")
    assert (together.verdict.passed, together.triggers) == (True, ("data_drift", "new_labels"))
    either = rule(text.replace("data_drift & new_labels", "(data_drift | new_labels) & code"), "new_labels", "code")
    assert (either.verdict.passed, set(either.triggers)) == (True, {"new_labels", "code"})


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("data_drfit", "'data_drfit' is no trigger that is turned on (did you mean 'data_drift'?)"),
        ("code & data_drift", "'code' is no trigger that is turned on: on are concept_drift, data_drift"),
        ("data_drift and concept_drift", "write names of triggers joined by & and |"),
        ("data_drift &", "write names of triggers joined by & and |"),
        ("__import__('os')", "write names of triggers joined by & and |"),
    ],
)
def test_what_is_no_expression_is_told(when: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        rules_of(triggers(f'data_drift = true\nwhen = "{when}"'))
    assert told in str(caught.value)


def test_concept_drift_is_decided_where_it_is_seen_unless_it_acts_with_others() -> None:
    assert rules_of(triggers("concept_drift = true")) == []
    joined = rules_of(triggers("new_labels = true\nwhen = 'concept_drift & new_labels'"))
    assert [r.name for r in joined] == ["concept_drift & new_labels"]


def test_drift_that_was_answered_must_fall_below_its_lower_bound_first() -> None:
    on, book = triggers("data_drift = { rearm = 0.8, cooldown = '0s' }"), Book(spent=["data_drift"])
    for value, spent in ((0.3, True), (0.09, True), (0.07, False)):
        signals = {"data_drift:a": signal("data_drift:a", value), "data_drift:b": signal("data_drift:b", 0.01)}
        rearm(on, signals, book)
        assert bool(book.spent) is spent
    seen = see_signals(on, {"data_drift:a": signal("data_drift:a", 0.3)}, 0, book, 1.0)
    assert seen["data_drift"].reason == "data_drift:a at 0.3, over 0.1"
    held = rule("data_drift = { cooldown = '0s' }", "data_drift", spent=("data_drift",))
    assert held.verdict.reason == "data_drift was answered already and has not been quiet since"


def test_labels_are_counted_from_the_last_retraining() -> None:
    on = triggers("new_labels = { count = 100 }")
    assert see_signals(on, {}, 1_099, Book(labels=1_000), 1.0) == {}
    assert see_signals(on, {}, 1_100, Book(labels=1_000), 1.0)["new_labels"].evidence == {"labels": 100}
