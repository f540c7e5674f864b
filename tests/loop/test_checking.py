"""Inputs that are served otherwise than the champion was trained on are told by `everloop data check`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from tests.projects import history, write_project

from everloop.data import Schema, infer, schema_file
from everloop.errors import DataError
from everloop.journal import Writer
from everloop.loop.asking import ask
from everloop.loop.checking import frozen_from, served_inputs, skew
from everloop.loop.commands import RETRAIN
from everloop.loop.dataset import check_data
from everloop.loop.parts import Parts, Reading, Shown
from everloop.loop.workspace import opened
from everloop.types import Prediction


def test_skew_between_training_and_serving(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    schema = infer(history(), target="y", time="time")
    (folder / schema_file.FILE).write_text(schema_file.render(schema))
    with opened(folder) as workspace:
        assert skew(workspace) == []
    ask(folder, RETRAIN, {})
    rng = np.random.default_rng(0)
    with opened(folder) as workspace:
        assert check_data(workspace) == (900, [], [])
        with contextlib.closing(Writer(workspace.journal, segment_bytes=20_000)) as writer:
            for number in range(60):
                a, b = rng.normal(size=5).tolist(), (rng.uniform(size=5) * 0.2).tolist()
                inputs = {"a": a, "b": b, "hour": [2.0 * ((number * 5 + row) % 12) for row in range(5)]}
                answer = Prediction("toy", "v1", inputs, {"prediction": [0.0] * 5})
                writer.append("prediction", f"p{number}", 1.7e9 + number, msgspec.json.encode(answer))
            writer.flush()
        assert len(served_inputs(workspace.journal, schema)) >= 100
        _, problems, notes = check_data(workspace)
    assert problems == []
    assert len(notes) == 1
    assert notes[0].startswith("column 'b' is served otherwise than it was trained on: median 0.")


@pytest.mark.parametrize("chunk_rows", [0, 7])
def test_nothing_is_frozen_from_a_target_that_never_changes(chunk_rows: int, tmp_path: Path) -> None:
    reading = Reading(None, ".", "y", "time", None, chunk_rows=chunk_rows)
    rows = history()[:30]

    def frozen(rows: pd.DataFrame) -> Schema:
        rows.to_csv(tmp_path / "rows.csv", index=False)
        shown = Shown(reading)
        shown.take(Parts("rows.csv", tmp_path, reading, tmp_path))
        return frozen_from(shown, "y")

    assert frozen(rows).target.name == "y"
    with pytest.raises(DataError, match=r"column 'y' \(the target\) is 1.5 in all rows: there is nothing to learn"):
        frozen(rows.assign(y=1.5))
    with pytest.raises(DataError, match="column 'a' holds no value"):
        frozen(rows.assign(a=None))
