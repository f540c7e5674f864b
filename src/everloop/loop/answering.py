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
    model: Model, inputs: Mapping[str, NDArray[Any]], times: NDArray[np.float64], answers: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which rows a model was judged on out of time (of its time, with its inputs), and its answers to them."""
    judged = judged_rows(model.bundle)
    place = {key: row for row, key in enumerate(_keys(judged.times, judged.inputs))}
    known = [place.get(key, -1) for key in _keys(times, {name: inputs[name] for name in judged.inputs})]
    fair, found = np.asarray(known) >= 0, answers.copy()
    found[fair] = judged.answers[[row for row in known if row >= 0]].reshape(found[fair].shape)
    return fair, found


def _keys(times: NDArray[np.float64], inputs: Mapping[str, NDArray[Any]]) -> list[int]:
    """Return a number for each row that only rows of the same time and inputs share; pixels do not count."""
    plain = {name: values.reshape(-1) for name, values in inputs.items() if values.size == len(times)}
    table = pd.DataFrame({"": times} | plain)
    keys: list[int] = pd.util.hash_pandas_object(table, index=False).tolist()
    return keys
