"""What a served model answers to rows of a table, without anything that trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data import Schema
from everloop.inference import Model, judged_rows, tensor_of

__all__ = ["answers_of", "remembered", "table_of_inputs"]


def answers_of(model: Model, rows: pd.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """Return a served model's answers to table rows: values, or probabilities of shape (rows, classes)."""
    found = model.predict({c.name: tensor_of(c, rows[c.name]) for c in schema.inputs})
    name = "prediction" if schema.task == "regression" else "probability"
    answers: NDArray[np.float64] = found[name].astype(np.float64)
    return answers


def table_of_inputs(inputs: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    """Return a bundle's rows as a table; arrays, such as pixels, are its values."""
    return pd.DataFrame({name: list(values) if values.ndim > 1 else values for name, values in inputs.items()})


def remembered(
    model: Model, times: NDArray[np.float64], answers: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which rows a model was judged on out of time (known by a time that is theirs alone), and its answers."""
    judged = judged_rows(model.bundle)
    before, known = judged.times, judged.answers
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
