"""Tables to train on: made ones with a column of each kind, and real ones from beside the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from everloop.data import Schema, conform, infer
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.training import check_parity, to_onnx
from everloop.training.estimators import with_cast

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


def real(name: str) -> Path:
    """Return a real file's path, or skip the test."""
    path = REAL / name
    if not path.is_file():
        pytest.skip(f"the real data {name} is not on this machine")
    return path


def made(classes: tuple[Any, ...] = (), rows: int = 300) -> tuple[pd.DataFrame, Schema]:
    """Return rows of a number, one with gaps, a flag and a city, whose target is one of `classes` or a number."""
    rng = np.random.default_rng(0)
    city, flag = rng.choice(["Bonn", "Oslo", "Rome", ""], rows), rng.uniform(size=rows) < 0.5
    a, b = np.round(rng.normal(size=rows), 2), np.where(rng.uniform(size=rows) < 0.1, np.nan, rng.uniform(size=rows))
    y = a + 2 * flag + 1.5 * (city == "Oslo") + np.nan_to_num(b) + rng.normal(0, 0.3, rows)
    frame = pd.DataFrame({"time": np.arange(rows) * 3600.0, "a": a, "b": b, "flag": flag, "city": city, "y": y})
    if classes:
        values = np.array(classes, dtype=object)[np.digitize(y, [1.5, 3.0][: len(classes) - 1])]
        frame["y"] = pd.Series(values).infer_objects()
    schema = infer(frame, target="y", time="time")
    return conform(frame, schema), schema


def exported(estimator: Any, rows: pd.DataFrame, schema: Schema) -> tuple[bytes, NDArray[np.float64]]:
    """Return the graph of an estimator fitted as the loop fits it, and the estimator's answers; parity holds."""
    fitted = with_cast(estimator).fit(rows[schema.names], rows[schema.target.name])
    graph = to_onnx(fitted, schema.inputs, schema.task)
    ask = fitted.predict if schema.task == "regression" else fitted.predict_proba
    answers: NDArray[np.float64] = np.asarray(ask(rows[schema.names]), dtype=np.float64)
    spread = float(rows[schema.target.name].std()) if schema.task == "regression" else 1.0
    assert check_parity(graph, answers, rows, schema.inputs, schema.task, spread)["rows"] == len(rows)
    return graph, answers


def run(graph: bytes, rows: pd.DataFrame, schema: Schema) -> dict[str, NDArray[Any]]:
    """Return the graph's outputs."""
    dtypes: dict[str, Any] = {"float64": np.float64, "bool": np.bool_, "string": object}
    feeds = {c.name: rows[c.name].to_numpy(dtype=dtypes[c.dtype]).reshape(-1, 1) for c in schema.inputs}
    return OnnxRuntime(graph).predict(feeds)
