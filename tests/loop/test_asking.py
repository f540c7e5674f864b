"""What a person asks for: carried out once, with a decision, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.projects import write_project

from everloop import store as tables
from everloop.errors import SystemError_
from everloop.loop.asking import ask
from everloop.loop.commands import PROMOTE, RETRAIN, ROLLBACK, post, result
from everloop.loop.controller import Controller
from everloop.loop.succession import baseline_of
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace, opened
from everloop.serving import read_plan
from everloop.settings import load
from everloop.types import Event

NOW = 1_712_000_000.0


class Loop:
    """A controller whose person asks in turn; each question is posted, carried out, and looked up."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.count = workspace, 0
        self.controller: Controller = self.start()

    def start(self) -> Controller:
        return build_controller(self.workspace, training_time=lambda decided: decided, report=lambda _: None)

    def ask(self, type: str, **data: Any) -> dict[str, Any]:
        self.count += 1
        event = Event(f"ask-{self.count}", type, "test", NOW + self.count, data=data)
        post(self.workspace.store, event)
        self.controller.carry_out(event, NOW + self.count)
        outcome = result(self.workspace.store, event.id)
        assert outcome is not None
        return outcome

    def rows(self, table: Any) -> list[dict[str, Any]]:
        return self.workspace.store.rows(sa.select(table))

    @property
    def champion(self) -> str:
        return read_plan(self.workspace.plan).champion.version


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    folder = write_project(tmp_path / "project")
    with opened(folder) as workspace:
        loop = Loop(workspace)
        yield loop
        loop.controller.close()


def trained(loop: Loop) -> Loop:
    loop.controller.step(NOW)
    return loop


def test_nothing_can_be_asked_before_there_is_a_model(loop: Loop) -> None:
    for type in (RETRAIN, PROMOTE, ROLLBACK):
        assert "there is no model yet" in loop.ask(type)["error"]


def test_a_retraining_that_was_asked_for_goes_the_usual_way(loop: Loop) -> None:
    outcome = trained(loop).ask(RETRAIN, reason="new features")
    (decision,) = [d for d in loop.rows(tables.decision) if d["id"] == outcome["decision"]]
    assert (decision["response"], decision["reason"], decision["status"]) == ("retrain", "new features", "done")
    assert decision["events"] == ["ask-1"]
    assert [v["stage"] for v in loop.rows(tables.model_version)] == ["production", "candidate"]
    assert "rollout r-1 is being judged" in loop.ask(RETRAIN)["error"]
    assert loop.champion == "v1"


def test_a_rollback_ends_the_rollout(loop: Loop) -> None:
    trained(loop).ask(RETRAIN)
    assert loop.ask(ROLLBACK, reason="complaints")["champion"] == "v1"
    (rollout,) = loop.rows(tables.rollout)
    assert (rollout["status"], rollout["verdict"]["reason"]) == ("rolled_back", "complaints")
    assert [v["stage"] for v in loop.rows(tables.model_version)] == ["production", "rejected"]
    assert [a["name"] for a in loop.rows(tables.alias)] == ["champion"]
    assert "is the first champion" in loop.ask(ROLLBACK)["error"]


def test_a_promotion_and_the_way_back(loop: Loop) -> None:
    trained(loop).ask(RETRAIN)
    outcome = loop.ask(PROMOTE, version="v2", reason="looks right")
    assert outcome["champion"] == loop.champion == "v2"
    assert [v["stage"] for v in loop.rows(tables.model_version)] == ["archived", "production"]
    (decision,) = [d for d in loop.rows(tables.decision) if d["id"] == outcome["decision"]]
    assert (decision["response"], decision["evidence"]["before"]) == ("promote", "v1")
    assert "v2 is the champion already" in loop.ask(PROMOTE, version="v2")["error"]
    assert loop.ask(ROLLBACK)["champion"] == loop.champion == "v1"
    assert "is the first champion" in loop.ask(ROLLBACK)["error"]


def test_only_a_version_that_passed_its_gate_and_exists(loop: Loop) -> None:
    trained(loop).ask(RETRAIN)
    loop.ask(ROLLBACK)
    with loop.workspace.store.begin() as connection:
        failed = {"outcome": "fail", "reason": "rmse 900 is above 90"}
        connection.execute(
            tables.model_version.update().where(tables.model_version.c.id == "v2").values(verdict=failed)
        )
    assert loop.ask(PROMOTE, version="v2")["error"] == "v2 did not pass its gate: rmse 900 is above 90"
    assert "no version of model 'toy' 'v9'" in loop.ask(PROMOTE, version="v9")["error"]
    assert loop.champion == "v1"


def test_the_new_champion_is_watched_against_its_own_baseline(loop: Loop) -> None:
    trained(loop).ask(RETRAIN)
    loop.ask(PROMOTE, version="v2")
    version = loop.rows(tables.model_version)[1]
    model = loop.workspace.model(version["bundle"])
    assert loop.controller.state.drift.baseline == baseline_of(model, 86400.0)
    assert np.sqrt(np.mean(baseline_of(model, 86400.0))) == pytest.approx(version["metrics"]["rmse"], rel=0.15)


def test_a_command_is_stored_with_what_it_did(loop: Loop) -> None:
    trained(loop).ask(RETRAIN)
    loop.ask(PROMOTE, version="v2")
    loop.controller.close()
    loop.controller = loop.start()  # as after a crash: all of it is in the store
    assert loop.controller.state.rollout is None
    loop.controller.step(NOW + 100)
    assert loop.champion == "v2"


def test_without_a_controller_nothing_is_asked(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with pytest.raises(SystemError_, match="no controller runs this project: start it with `everloop up`"):
        ask(folder, RETRAIN, {}, lambda _: None)
    with opened(folder) as workspace:
        assert workspace.store.rows(sa.select(tables.event)) == []
    assert load(folder).project.name == "toy"
