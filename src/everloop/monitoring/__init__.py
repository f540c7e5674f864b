"""What the journal says about a model: late labels joined, concept drift, data drift. No clock, no I/O."""

from everloop.monitoring.concept_drift import ConceptDrift, DriftRules, DriftState, LabelledRow, started
from everloop.monitoring.data_drift import data_drift
from everloop.monitoring.labels import Joined, JoinState, LabelJoin

__all__ = [
    "ConceptDrift",
    "DriftRules",
    "DriftState",
    "JoinState",
    "Joined",
    "LabelJoin",
    "LabelledRow",
    "data_drift",
    "started",
]
