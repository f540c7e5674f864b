"""How good a model is, on which rows, and whether that is enough: metrics, evaluations and gates."""

from everloop.evaluation.answered import Answered
from everloop.evaluation.gates import GateEvidence, build_gate, needs_approval, own_check, own_checks
from everloop.evaluation.metrics import METRICS, losses, main_metric, score
from everloop.evaluation.paired import paired
from everloop.evaluation.report import Evaluation, evaluate

__all__ = [
    "METRICS",
    "Answered",
    "Evaluation",
    "GateEvidence",
    "build_gate",
    "evaluate",
    "losses",
    "main_metric",
    "needs_approval",
    "own_check",
    "own_checks",
    "paired",
    "score",
]
