"""How good a model is, on which rows, and whether that is enough: metrics and gates."""

from everloop.evaluation.gates import GateEvidence, build_gate, needs_approval
from everloop.evaluation.metrics import METRICS, losses, main_metric, score

__all__ = ["METRICS", "GateEvidence", "build_gate", "losses", "main_metric", "needs_approval", "score"]
