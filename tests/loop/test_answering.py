"""Which rows a model was judged on is known by their time and inputs, also where many rows share a time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from tests.serving.sites import rides_graph, write_bundle

from everloop.bundles import SigningKey, trusted
from everloop.inference import Model
from everloop.loop.answering import remembered
from everloop.types import Column

HOUR = Column("hour", "float64")


def judged(folder: Path) -> Model:
    """Return a model that was judged on three rows of time 7 and one of time 9."""
    key, out = SigningKey.create(folder / "keys"), io.BytesIO()
    kept = {
        "input:hour": np.array([1.0, np.nan, 3.0, 1.0]),
        "answers": np.array([10.0, 20.0, 30.0, 40.0]),
        "time": np.array([7.0, 7.0, 7.0, 9.0]),
    }
    np.savez(out, allow_pickle=False, target=np.zeros(4), **kept)
    beside = {"reference.npz": out.getvalue()}
    write_bundle(folder / "v1", key, "rides", rides_graph(0.0, ["hour"]), [HOUR], beside)
    return Model.load(folder / "v1", trusted(folder / "keys"))


def test_rows_are_known_by_time_and_inputs(tmp_path: Path) -> None:
    model = judged(tmp_path)
    times = np.array([7.0, 7.0, 8.0, 9.0, 7.0])
    hours = np.array([[3.0], [np.nan], [1.0], [1.0], [2.0]])
    fair, answers = remembered(model, {"hour": hours}, times, np.full(5, -1.0))
    assert fair.tolist() == [True, True, False, True, False]
    assert answers.tolist() == [30.0, 20.0, -1.0, 40.0, -1.0]
