"""The rows that a bundle's model was judged on before it served; each was answered by a fit that had not seen it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from everloop.bundles import Bundle

__all__ = ["JudgedRows", "judged_rows"]


class JudgedRows(NamedTuple):
    """Out-of-time rows, oldest first: inputs by column as the graph takes them, target, answers and event times."""

    inputs: dict[str, NDArray[Any]]
    target: NDArray[Any]
    answers: NDArray[np.float64]
    times: NDArray[np.float64]

    def truth(self, classes: Sequence[Any]) -> NDArray[Any]:
        """Return the target as metrics take it: values, or the places of classes."""
        if not classes:
            return self.target
        place = {str(value): index for index, value in enumerate(classes)}
        return np.asarray([place[str(value)] for value in self.target.tolist()], dtype=np.int64)


def judged_rows(bundle: Bundle) -> JudgedRows:
    """Return the rows that a bundle holds of its model's judgement; texts are Python's, as a graph takes them."""
    with np.load(io.BytesIO(bundle.read("reference.npz")), allow_pickle=False) as arrays:
        inputs = {c.name: arrays[f"input:{c.name}"] for c in bundle.manifest.inputs}
        answers, times = arrays["answers"].astype(np.float64), arrays["time"].astype(np.float64)
        target = arrays["target"]
    texts = {name: values.astype(object) for name, values in inputs.items() if values.dtype.kind == "U"}
    return JudgedRows(inputs | texts, target, answers, times)
