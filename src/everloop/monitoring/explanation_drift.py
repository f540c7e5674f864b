"""Drift of explanations: how much a column contributes to the answers that were explained."""

from __future__ import annotations

from typing import Any

import numpy as np

from everloop.monitoring.detector import FEWEST, Rules
from everloop.monitoring.window import Window
from everloop.statistics import RiseEvidence
from everloop.types import Signal

__all__ = ["ExplanationDrift"]


class ExplanationDrift:
    """`explanation_drift:COLUMN`: the mean absolute contribution, against that of the windows before.

    Explanations are made when somebody asks, so a bundle holds none: the first eight windows that have any are taken
    as usual. A rise and a fall are looked for, each with half of the false alarms.
    """

    def __init__(self, column: str, rules: Rules) -> None:
        self.name, self.column, self.rules = f"explanation_drift:{column}", column, rules
        self.rise, self.fall = RiseEvidence(2 * rules.limit), RiseEvidence(2 * rules.limit)
        self.sum, self.rows = 0.0, 0

    def update(self, batch: Window) -> Signal | None:
        """Add the batch's explanations; judge the window when it closes."""
        found = batch.explained.get(self.column)
        if found is not None:
            self.sum, self.rows = self.sum + float(np.abs(found).sum()), self.rows + len(found)
        if not batch.last or self.rows < FEWEST:
            return None
        mean, usual = self.sum / self.rows, self.rise.mean
        rises = [self.rise.take(mean), self.fall.take(-mean)]
        told: dict[str, Any] = {"window": True, "column": self.column, "contribution": mean, "usual": usual}
        told["rows"] = self.rows
        self.sum, self.rows = 0.0, 0
        firing = self.rise.firing or self.fall.firing
        limit = self.rise.limit
        return Signal(self.name, batch.end, max(rises), limit, firing, batch.start, batch.end, told)

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return {"sum": self.sum, "rows": self.rows, "rise": _plain(self.rise), "fall": _plain(self.fall)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.sum, self.rows = state["sum"], state["rows"]
        self.rise, self.fall = RiseEvidence(**state["rise"]), RiseEvidence(**state["fall"])

    def merge(self, other: ExplanationDrift) -> None:
        """Add what another worker saw of the open window."""
        self.sum, self.rows = self.sum + other.sum, self.rows + other.rows


def _plain(evidence: RiseEvidence) -> dict[str, Any]:
    return {name: getattr(evidence, name) for name in evidence.__struct_fields__}
