"""What the journal says about a model: late labels joined, drift, rates, losses. No clock, no I/O."""

from everloop.monitoring.concept_drift import ConceptDrift, DriftRules, DriftState, LabelledRow, started
from everloop.monitoring.detector import Detector, MeanDetector, Rules
from everloop.monitoring.explanation_drift import ExplanationDrift
from everloop.monitoring.labels import Joined, JoinState, LabelJoin
from everloop.monitoring.realised import RealisedState, RealisedWindows
from everloop.monitoring.reference import Reference
from everloop.monitoring.suite import HIDDEN, Cut, labelled, unlabelled
from everloop.monitoring.window import Cutter, Window

__all__ = [
    "HIDDEN",
    "ConceptDrift",
    "Cut",
    "Cutter",
    "Detector",
    "DriftRules",
    "DriftState",
    "ExplanationDrift",
    "JoinState",
    "Joined",
    "LabelJoin",
    "LabelledRow",
    "MeanDetector",
    "RealisedState",
    "RealisedWindows",
    "Reference",
    "Rules",
    "Window",
    "labelled",
    "started",
    "unlabelled",
]
