"""Parity: the graph that is served answers as the estimator that was trained, or there is no bundle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.errors import BundleError, ParityError, RequestError
from everloop.inference import media_of, tensor_of
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.types import Column, Task

__all__ = ["ALLOWED_SHARE", "TOLERANCE", "check_answers", "check_parity"]

ALLOWED_SHARE, TOLERANCE = 0.001, 1e-3
PART = 200
"""Rows with images or videos that are answered at a time."""


def check_parity(
    graph: bytes, answers: NDArray[np.float64], rows: pd.DataFrame, inputs: Sequence[Column], task: Task, spread: float
) -> dict[str, float]:
    """Return how far the graph's answers to all `rows` lie from the estimator's; raises `ParityError` beyond bounds.

    A regression row differs when it is off by more than 1e-3 of the target's `spread` (its standard
    deviation), a classification row when a probability is off by more than 1e-3. At most 0.1 % may.
    """
    name = "prediction" if task == "regression" else "probability"
    size = PART if media_of(inputs) else max(1, len(rows))
    parts = [rows.iloc[start : start + size] for start in range(0, len(rows), size)]
    try:
        runtime = OnnxRuntime(graph)
        found = [runtime.predict({c.name: tensor_of(c, part[c.name]) for c in inputs})[name] for part in parts]
    except (BundleError, RequestError) as error:
        raise ParityError(
            f"the ONNX graph does not answer the rows it was trained on ({str(error).rstrip('.')}): the bundle is "
            'refused; change the step that was added last, or say runtime = "native" in [training]'
        ) from error
    served = np.concatenate(found).astype(np.float64)
    return check_answers(served.reshape(answers.shape), answers, task, spread, "the ONNX graph")


def check_answers(
    served: NDArray[np.float64], answers: NDArray[np.float64], task: Task, spread: float, what: str
) -> dict[str, float]:
    """Return how far the answers of `what` is served lie from the estimator's, as `check_parity` does."""
    apart = np.abs(served - answers)
    off = apart / (spread or 1.0) if task == "regression" else apart.max(axis=1)
    share = float((~(off <= TOLERANCE)).mean())  # what is no number differs
    figures = {"rows": float(len(answers)), "share": share, "largest": float(off.max())}
    if not share <= ALLOWED_SHARE:
        unit = "of the target's spread" if task == "regression" else "of probability"
        raise ParityError(
            f"{what} differs from the estimator on {share:.2%} of {len(answers)} rows "
            f"(largest {off.max():.3g} {unit}, allowed {ALLOWED_SHARE:.1%}): the bundle is refused; "
            "try the model without the step that was added last"
        )
    return figures
