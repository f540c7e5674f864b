"""Lineage both ways: from a prediction to the training set, from the training set to versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from tests.loop.test_asking import NOW, Loop
from tests.projects import write_project

from everloop import store as tables
from everloop.cli import app
from everloop.errors import NotFoundError, UsageError
from everloop.journal import Writer
from everloop.loop.commands import RETRAIN
from everloop.loop.lineage import lineage, text_of
from everloop.loop.lineage_picture import picture
from everloop.loop.workspace import Workspace, opened
from everloop.types import Prediction, new_id


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A project with two versions, the second from the cache of the first, and a prediction of v1."""
    folder = write_project(tmp_path_factory.mktemp("lineage") / "project")
    with opened(folder) as workspace:
        loop = Loop(workspace)
        loop.controller.step(NOW)
        loop.ask(RETRAIN)
        loop.controller.close()
        writer = Writer(workspace.journal)
        answered = Prediction("toy", "v1", {"a": [1.0]}, {"prediction": [2.0]})
        writer.append("prediction", new_id(NOW, b"0123456789"), NOW, msgspec.json.encode(answered))
        writer.close()
        yield workspace


def labels(workspace: Workspace, id: str, direction: str) -> str:
    return "\n".join(text_of(lineage(workspace, id, "down" if direction == "down" else "up")))


def test_a_prediction_leads_back_to_the_data(workspace: Workspace) -> None:
    told = labels(workspace, new_id(NOW, b"0123456789"), "up")
    assert told.startswith("prediction ")
    assert "answered by: version v1" in told
    for part in (
        "bundle: json",
        "assemble (run",
        "model: json",
        "train (run",
        "answers: choose_window",
        "collect (run",
    ):
        assert part in told
    assert "data-1: 360 rows" in told or "data-1: " in told
    assert "version v2" not in told


def test_what_was_taken_from_the_cache_leads_to_where_it_was_computed(workspace: Workspace) -> None:
    (first, second) = (r["run"] for r in workspace.store.rows(sa.select(tables.model_version.c.run)))
    told = labels(workspace, "v2", "up")
    assert f"assemble (run {second})" in told
    assert f"choose_window (run {second})" in told or f"choose_window (run {first})" in told
    assert "(see above)" in told


def test_a_training_set_leads_to_the_versions_made_of_it(workspace: Workspace) -> None:
    told = labels(workspace, "data-1", "down")
    assert told.startswith("data-1: ")
    assert "bundle: version v1" in told
    assert "bundle: version v2" in told


def test_an_artifact_is_known_by_eight_characters(workspace: Workspace) -> None:
    (row, *_) = workspace.store.rows(sa.select(tables.data_version.c.artifact))
    found = lineage(workspace, row["artifact"][:8], "up")
    assert found.root == row["artifact"]
    assert {node.kind for node in found.nodes.values()} == {"artifact", "step", "data version"}


def test_every_edge_joins_two_nodes_and_the_picture_is_one(workspace: Workspace) -> None:
    for id, direction in (("v2", "up"), ("data-1", "down")):
        found = lineage(workspace, id, "down" if direction == "down" else "up")
        assert {end for edge in found.edges for end in (edge.source, edge.target)} == set(found.nodes)
        assert picture(found, "png").startswith(b"\x89PNG")
        assert b"<svg" in picture(found, "svg")


def test_what_has_no_lineage(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match=r"'v22' \(did you mean 'v2'\?\)"):
        lineage(workspace, "v22", "up")
    with pytest.raises(UsageError, match="d-1 is a decision: lineage is of a prediction, version, data version or"):
        lineage(workspace, "d-1", "up")


def test_the_verb(workspace: Workspace, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    place, out = str(workspace.folder), tmp_path / "picture.svg"
    told = CliRunner().invoke(app, ["lineage", "v1", "--project", place, "--json", "--out", str(out)])
    assert json.loads(told.output)["nodes"]["v1"]["kind"] == "version"
    assert out.read_text().count("<svg") == 1
    wrong = CliRunner().invoke(app, ["lineage", "v1", "--project", place, "--out", "x.gif"])
    assert "end it with .png, .svg or .pdf" in str(wrong.exception)
