"""Which triggers act by themselves and which together, and under which conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from everloop.checks import Check, Verdict
from everloop.settings import Triggers, seconds
from everloop.triggers.conditions import (
    TriggerState,
    budget,
    cooldown_of,
    debounced,
    happened,
    no_rollout,
    rearmed,
)
from everloop.triggers.expression import names_in, parse
from everloop.triggers.signals import LISTENED

__all__ = ["Rule", "Ruling", "decide", "rules_of"]


class Rule(NamedTuple):
    """What has to hold for a retraining: the condition of each trigger it names, and of all together."""

    name: str
    parts: dict[str, Check[TriggerState]]
    check: Check[TriggerState]


class Ruling(NamedTuple):
    """What a rule says now: the verdict, and the triggers whose own conditions hold."""

    rule: Rule
    verdict: Verdict
    triggers: tuple[str, ...]


def rules_of(triggers: Triggers) -> list[Rule]:
    """Return the rules, the most urgent first; raises `SettingsError` where `when` is no expression of triggers.

    Concept drift alone is not among them: the evaluation that raises its signals decides on it at once.
    """
    checks = {name: _condition(triggers, name) for name in triggers.on}
    together = names_in(triggers.when)
    always = no_rollout() & budget(triggers.budget, seconds(triggers.period))
    alone = [name for name in checks if name not in together and name != "concept_drift"]
    rules = [Rule(name, {name: checks[name]}, checks[name] & always) for name in alone]
    if together:
        joined = parse(triggers.when, checks)
        rules.append(Rule(triggers.when, {name: checks[name] for name in together}, joined & always))
    return rules


def decide(rules: Sequence[Rule], state: TriggerState) -> list[Ruling]:
    """Return what each rule says that saw anything, up to the first one that acts."""
    found = list[Ruling]()
    for rule in rules:
        if not state.occurrences.keys() & rule.parts.keys():
            continue
        own = tuple(name for name, part in rule.parts.items() if part(state).passed)
        found.append(Ruling(rule, rule.check(state), own))
        if found[-1].verdict.passed:
            break
    return found


def _condition(triggers: Triggers, name: str) -> Check[TriggerState]:
    settings = triggers.of(name)
    condition = happened(name)
    if wait := seconds(getattr(settings, "debounce", "0s")):
        condition = condition & debounced(name, wait)
    if rest := seconds(getattr(settings, "cooldown", "0s")):
        condition = condition & cooldown_of(name, rest)
    return condition & rearmed(name) if name in LISTENED else condition
