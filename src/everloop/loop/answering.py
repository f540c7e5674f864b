"""What a served model answers to rows of a table, without anything that trains."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data import Schema
from everloop.inference import Model, arrays_of

__all__ = ["answers_of", "remembered"]


def answers_of(model: Model, rows: pd.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """Return a served model's answers to table rows: values, or probabilities of shape (rows, classes)."""
    dtypes: dict[str, Any] = {"float64": np.float64, "int64": np.int64, "bool": np.bool_, "string": object}
    found = model.predict(
        {
            c.name: arrays_of(c, rows[c.name]) if c.prepare else rows[c.name].to_numpy(dtype=dtypes[c.dtype])
            for c in schema.inputs
        }
    )
    name = "prediction" if schema.task == "regression" else "probability"
    answers: NDArray[np.float64] = found[name].astype(np.float64)
    return answers


def remembered(
    model: Model, times: NDArray[np.float64], answers: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which rows a model was judged on out of time (known by a time that is theirs alone), and its answers."""
    with np.load(io.BytesIO(model.bundle.read("reference.npz")), allow_pickle=False) as arrays:
        before, known = arrays["time"], arrays["answers"]
    alone = [
        t
        for t, count in zip(*np.unique(np.concatenate([before, times]), return_counts=True), strict=True)
        if count == 2
    ]
    place = {t: i for i, t in enumerate(before.tolist())}
    fair = np.isin(times, alone) & np.isin(times, before)
    found = answers.copy()
    found[fair] = known[[place[t] for t in times[fair].tolist()]].reshape(found[fair].shape)
    return fair, found
