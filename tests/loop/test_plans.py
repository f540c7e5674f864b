from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.projects import write_project

from everloop import registry
from everloop.checks import Verdict
from everloop.loop.plans import current_plan, next_generation, publish
from everloop.loop.records import record_rollout
from everloop.loop.workspace import Workspace
from everloop.rollouts import RolloutRules, begin
from everloop.serving import read_plan
from everloop.settings import load

PASSED = Verdict("gate", "pass", "good")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    folder = write_project(tmp_path / "project")
    workspace = Workspace(folder, load(folder))
    with workspace.store.begin() as connection:
        for number in (1, 2):
            registry.register(
                connection, model="toy", bundle=f"bundles/{number}", sha256=f"{number}", run=f"run-{number}",
                data_version="data-1", window={}, metrics={}, commit=None, verdict=PASSED, time=1.0,
            )  # fmt: skip
    yield workspace
    workspace.close()


def serve(workspace: Workspace, version: str) -> None:
    with workspace.store.begin() as connection:
        registry.set_alias(connection, "toy", "champion", version, PASSED, 2.0)
        next_generation(connection)


def test_without_a_champion_there_is_no_plan(workspace: Workspace) -> None:
    assert publish(workspace) is None
    assert not workspace.plan.exists()


def test_the_champion_answers_all(workspace: Workspace) -> None:
    serve(workspace, "v1")
    plan = publish(workspace)
    assert plan is not None
    assert [(v.version, v.role, v.weight) for v in plan.variants] == [("v1", "champion", 1.0)]
    assert read_plan(workspace.plan) == plan


def test_a_rollout_shares_the_traffic_from_its_start(workspace: Workspace) -> None:
    serve(workspace, "v1")
    with workspace.store.begin() as connection:
        record_rollout(connection, begin("v1", "v2", 50.0, RolloutRules(steps=(0.25,))), 50.0, decision="d-1")
        next_generation(connection)
    plan = current_plan(workspace)
    assert plan is not None
    assert (plan.generation, plan.since) == (2, 50.0)
    assert {v.version: v.weight for v in plan.variants} == {"v1": 0.75, "v2": 0.25}


@pytest.mark.parametrize("damage", [b"", b"{", b'{"generation": 1}', b"\xff\xfe"])
def test_a_damaged_plan_file_is_written_anew(workspace: Workspace, damage: bytes) -> None:
    serve(workspace, "v1")
    plan = publish(workspace)
    workspace.plan.write_bytes(damage)
    assert publish(workspace) == plan == read_plan(workspace.plan)


def test_an_unchanged_plan_is_not_written_again(workspace: Workspace) -> None:
    serve(workspace, "v1")
    publish(workspace)
    before = workspace.plan.stat().st_mtime_ns
    publish(workspace)
    assert workspace.plan.stat().st_mtime_ns == before
