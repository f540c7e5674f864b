"""When to act: what happened, and conditions over it; pure functions of what is passed in."""

from everloop.triggers.book import Book
from everloop.triggers.classify import Changes, classify
from everloop.triggers.conditions import Occurrence, TriggerState, budget, cooldown, firing, lengthened, no_rollout
from everloop.triggers.events import (
    ALERT,
    OBJECTS,
    PULLED,
    PUSH,
    SCHEDULE,
    SENSED,
    Stored,
    objects_event,
    pulled_event,
    push_event,
    schedule_event,
)
from everloop.triggers.expression import names_in
from everloop.triggers.rules import Rule, Ruling, decide, rules_of
from everloop.triggers.signals import LISTENED, rearm, see_signals
from everloop.triggers.sorting import Final, Looked, Sorted, place_of, sort_events

__all__ = [
    "ALERT",
    "LISTENED",
    "OBJECTS",
    "PULLED",
    "PUSH",
    "SCHEDULE",
    "SENSED",
    "Book",
    "Changes",
    "Final",
    "Looked",
    "Occurrence",
    "Rule",
    "Ruling",
    "Sorted",
    "Stored",
    "TriggerState",
    "budget",
    "classify",
    "cooldown",
    "decide",
    "firing",
    "lengthened",
    "names_in",
    "no_rollout",
    "objects_event",
    "place_of",
    "pulled_event",
    "push_event",
    "rearm",
    "rules_of",
    "schedule_event",
    "see_signals",
    "sort_events",
]
