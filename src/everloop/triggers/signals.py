"""What signals and labels mean to the triggers that look at them, and when one of them is quiet again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from everloop.settings import DataDrift, NewLabels, Triggers
from everloop.triggers.book import Book
from everloop.triggers.conditions import Occurrence
from everloop.types import Signal, as_json

__all__ = ["LISTENED", "rearm", "see_signals"]

LISTENED = {"concept_drift": ("realised_loss", "challenger_gain", "window_growth"), "data_drift": ("data_drift",)}
"""The signals of each trigger; of `data_drift:column` the part before the colon counts."""


def see_signals(
    triggers: Triggers, signals: Mapping[str, Signal], labels: int, book: Book, time: float
) -> dict[str, Occurrence]:
    """Return what the triggers see in the newest signals, and in the number of labels that there are by now."""
    found: dict[str, Occurrence] = {}
    for trigger in LISTENED:
        telling = [s for s in _of(trigger, signals) if s.firing] if triggers.of(trigger) else []
        if telling:
            told = ", ".join(f"{s.name} at {s.value:.4g}, over {s.threshold:.4g}" for s in telling[:3])
            evidence: dict[str, Any] = {"signals": [as_json(s) for s in telling]}
            found[trigger] = Occurrence(told, telling[0].time, (), evidence)
    wanted, since = triggers.of("new_labels"), labels - (book.labels or 0)
    if isinstance(wanted, NewLabels) and since >= wanted.count:
        found["new_labels"] = Occurrence(f"{since:,} labels since the last retraining", time, (), {"labels": since})
    return found


def rearm(triggers: Triggers, signals: Mapping[str, Signal], book: Book) -> None:
    """Let triggers act again whose signals all fell below their lower bound."""
    drift = triggers.of("data_drift")
    share = drift.rearm if isinstance(drift, DataDrift) else 1.0
    for trigger in tuple(book.spent):
        heard = _of(trigger, signals)
        bound = share if trigger == "data_drift" else 1.0
        if heard and all(s.value < bound * s.threshold for s in heard):
            book.spent.remove(trigger)


def _of(trigger: str, signals: Mapping[str, Signal]) -> list[Signal]:
    return [s for name, s in signals.items() if name.partition(":")[0] in LISTENED[trigger]]
