"""Served rows: the odd ones are asked for first, and their labels go to the server that answered them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from tests.loop.test_monitoring import DAY, SCHEMA, champion
from tests.projects import write_project
from tests.replay.test_client import Site
from tests.serving.sites import RIDES

from everloop.errors import DataError, UsageError
from everloop.journal import Writer
from everloop.loop.labels import files
from everloop.loop.labels.importing import import_labels, server_of
from everloop.loop.labels.served import propose_served
from everloop.loop.records import record_signals
from everloop.loop.workspace import Workspace, opened
from everloop.types import Feedback, Prediction, Signal, new_id


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with opened(write_project(tmp_path / "project")) as found:
        champion(found)
        yield found


def labels(*values: Any) -> pd.Series[Any]:
    return pd.Series(values, dtype=object)


def answer(workspace: Workspace, first: int, count: int, hour: float = 0.0, outlier: bool = False) -> list[str]:
    """Journal predictions without labels."""
    writer, ids = Writer(workspace.journal), []
    for place in range(first, first + count):
        moment = 61 * DAY + place
        row = np.random.default_rng(place).normal(size=3) + np.array([hour, 0, 0])
        flags = {"outlier": {"rows": [0], "scores": [9.0]}} if outlier else {}
        inputs = {c.name: [float(value)] for c, value in zip(RIDES, row, strict=True)}
        ids.append(new_id(moment, f"{place:010}".encode()))
        told = Prediction(workspace.name, "v1", inputs, {"prediction": [float(row.sum())]}, flags=flags)
        writer.append("prediction", ids[-1], moment, msgspec.json.encode(told))
    writer.flush()
    writer.close()
    return ids


def test_rows_that_lie_far_out_and_rows_that_drift_come_first(workspace: Workspace) -> None:
    histogram = {"numeric": True, "bins": [-1.0, 1.4], "reference": [0.2, 0.7, 0.1], "window": [0.1, 0.2, 0.7]}
    evidence = {"version": "v1", "column": "hour", "window": "1d", "histogram": histogram}
    with workspace.store.begin() as connection:
        record_signals(connection, [Signal("data_drift:hour", 61 * DAY, 9.0, 1.0, True, 60 * DAY, 61 * DAY, evidence)])
    usual, far = answer(workspace, 0, 20, -2.0), answer(workspace, 20, 3, -2.0, outlier=True)
    moved = answer(workspace, 30, 5, hour=6.0)
    found = propose_served(workspace, 8)
    assert (found.strategy, found.candidates) == ("watched", 28)
    told = dict(zip(found.rows["prediction_id"], found.rows["label_reason"], strict=True))
    assert set(told) == {*far, *moved}
    assert all("lies further out than what training saw" in told[id] for id in far)
    assert all("its 'hour' is of what came more often than before" in told[id] for id in moved)
    assert list(found.rows) == ["prediction_id", "row", *SCHEMA.names, "y", *files.NOTES]
    rest = propose_served(workspace, 28).rows["label_reason"]
    assert (rest == "one of the usual ones, by chance").sum() > 15
    assert len(usual) == 20


def test_labels_of_served_rows_go_to_the_server(workspace: Workspace, tmp_path: Path) -> None:
    ids, path = answer(workspace, 0, 4), tmp_path / "to-label.csv"
    found = propose_served(workspace, 3)
    files.write(found.rows.assign(y=labels(1.5, None, "much")), path)
    with contextlib.closing(Site()) as site:
        client = server_of(workspace.settings, f"http://127.0.0.1:{site.server.server_port}")
        with pytest.raises(DataError, match="column 'y' holds 'much' in row 3: it must be a number; nothing was taken"):
            import_labels(workspace, path, now=62 * DAY, client=client)
        assert site.bodies == []
        files.write(found.rows.assign(y=labels(1.5, None, 2.0)), path)
        done = import_labels(workspace, path, now=62 * DAY, client=client)
    assert done.open == 1
    assert done.added is None
    [sent] = [body["feedback"] for body in site.bodies]
    assert [(one["prediction"], one["value"]) for one in sent] == [
        (found.rows["prediction_id"][0], 1.5),
        (found.rows["prediction_id"][2], 2.0),
    ]
    writer = Writer(workspace.journal)
    for one in sent:
        label = Feedback(one["prediction"], one["value"], 62 * DAY)
        writer.append("feedback", label.prediction, label.time, msgspec.json.encode(label))
    writer.flush()
    writer.close()
    left = propose_served(workspace, 9)
    assert set(left.rows["prediction_id"]) == set(ids) - {one["prediction"] for one in sent}


def test_before_anything_was_served_there_is_nothing_to_choose_from(tmp_path: Path) -> None:
    with opened(write_project(tmp_path / "project")) as found:
        with pytest.raises(UsageError, match="nothing was served yet: choose from a file of rows instead"):
            propose_served(found, 5)
        champion(found)
        with pytest.raises(UsageError, match="the journal holds no prediction of v1 without a label"):
            propose_served(found, 5)
