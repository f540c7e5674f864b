"""All that rows and answers tell of a model, in one value."""

from __future__ import annotations

import msgspec

from everloop.evaluation.answered import Answered
from everloop.evaluation.attacks import Attacked
from everloop.evaluation.calibration import Calibration, calibration
from everloop.evaluation.explanations import Importance, Predict, importances
from everloop.evaluation.fairness import Fairness, fairness
from everloop.evaluation.intervals import Figure, figures
from everloop.evaluation.metrics import score
from everloop.evaluation.otherwise import Otherwise
from everloop.evaluation.over_time import Period, over_time
from everloop.evaluation.paired import Paired
from everloop.evaluation.robustness import Moved, robustness
from everloop.evaluation.slices import Slice, slices
from everloop.types import Task

__all__ = ["Evaluation", "evaluate"]


class Evaluation(msgspec.Struct, frozen=True):
    """What was found on `rows` from `start` to `end`; intervals draw `blocks` of `block` seconds (0: single rows).

    The last three are there where they were asked for.
    """

    task: Task
    rows: int
    start: float
    end: float
    block: float
    blocks: int
    metrics: dict[str, Figure]
    slices: list[Slice]
    calibration: Calibration
    over_time: list[Period]
    fairness: list[Fairness]
    importances: list[Importance]
    robustness: list[Moved]
    paired: Paired | None = None
    attacks: Attacked | None = None
    counterfactuals: list[Otherwise] | None = None


def evaluate(rows: Answered, predict: Predict | None = None) -> Evaluation:
    """Return the evaluation of a model's answers, without a comparison; what asks the model itself needs `predict`."""
    metrics = figures(lambda chosen: score(rows.task, rows.truth[chosen], rows.answers[chosen]), rows.blocks)
    return Evaluation(
        task=rows.task,
        rows=len(rows),
        start=float(rows.times[0]),
        end=float(rows.times[-1]),
        block=rows.block,
        blocks=int(rows.blocks[-1]) + 1,
        metrics=metrics,
        slices=slices(rows),
        calibration=calibration(rows),
        over_time=over_time(rows),
        fairness=fairness(rows),
        importances=importances(rows, predict) if predict else [],
        robustness=robustness(rows, predict) if predict else [],
    )
