"""Bundles made by hand: what answers with no number, otherwise than declared, too slowly or not at all, fails."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from tests.loop.audited import audited
from tests.serving.sites import RIDES, rides_graph, write_bundle

from everloop.errors import SettingsError
from everloop.evaluation.checked import Checked
from everloop.inference.trial import Found, Order
from everloop.loop.bundle_tests import behaviour, serving
from everloop.loop.workspace import Workspace
from everloop.settings import Expectation, parse


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with audited(tmp_path_factory.mktemp("tested")) as opened:
        yield opened


def expecting(workspace: Workspace, **told: str) -> None:
    """Put one expectation into the settings."""
    tests = msgspec.structs.replace(workspace.settings.tests, expectations=(Expectation(**told),))  # type: ignore[arg-type]
    workspace.settings = msgspec.structs.replace(workspace.settings, tests=tests)


def by_name(checks: Iterator[Checked]) -> dict[str, Checked]:
    return {check.name: check for check in checks}


def test_answers_of_a_sum(workspace: Workspace) -> None:
    expecting(workspace, column="hour", change="+2", expect="up")
    told = by_name(behaviour(workspace, workspace.bundles / "b1"))
    assert {name: check.result for name, check in told.items()} == {
        "no NaN from zeros": "passed",
        "no NaN from missing values": "failed",
        "no NaN from extreme values": "passed",
        "hour +2: up": "passed",
    }
    assert told["no NaN from missing values"].why.startswith("of 20 answers; hour = nan: the answer is nan")
    expecting(workspace, column="hour", change="+2", expect="same")
    assert by_name(behaviour(workspace, workspace.bundles / "b1"))["hour +2: same"].value == 0.0
    assert next(behaviour(workspace, workspace.bundles / "b3")).result == "passed"


def test_an_expectation_of_no_column_is_told_with_its_line(workspace: Workspace) -> None:
    expecting(workspace, column="hours", change="+2")
    with pytest.raises(SettingsError, match=r"'hours' is no input .did you mean 'hour'"):
        list(behaviour(workspace, workspace.bundles / "b1"))
    expecting(workspace, column="hour", change="+2")


def test_a_bare_process_answers_within_its_budget(workspace: Workspace) -> None:
    told = by_name(serving(workspace, workspace.bundles / "b2"))
    assert told["loads where it serves"].result == "passed"
    assert {told[name].result for name in ("latency p99, ms", "memory, MB")} == {"skipped"}
    assert 20 < (told["memory, MB"].value or 0) < 500
    text = (workspace.folder / "everloop.toml").read_text()
    tests = parse(f'{text}\n[tests]\nlatency = "9s"\nmemory = "1MB"').tests
    workspace.settings = msgspec.structs.replace(workspace.settings, tests=tests)
    told = by_name(serving(workspace, workspace.bundles / "b2"))
    assert (told["latency p99, ms"].result, told["latency p99, ms"].bound) == ("passed", 9000.0)
    assert (told["memory, MB"].result, told["memory, MB"].bound) == ("failed", 1.0)


def test_a_damaged_bundle_does_not_load(workspace: Workspace) -> None:
    place = workspace.bundles / "damaged"
    write_bundle(place, workspace.key, workspace.name, rides_graph(0.0), RIDES)
    graph = place / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    (told,) = serving(workspace, place)
    assert (told.name, told.result) == ("loads where it serves", "failed")
    assert "model.onnx" in told.why


def test_an_order_and_its_answer_are_json() -> None:
    for value in (Order("b1", ["ab"], native=[]), Found(error="no")):
        assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value
