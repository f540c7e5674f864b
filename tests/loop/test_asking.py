"""What a person asks for: carried out once, with a decision, or refused in a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from tests.projects import write_project

from everloop import store as tables
from everloop.errors import CheckError, SettingsError, UsageError
from everloop.journal import Writer
from everloop.journal.machine import announce
from everloop.loop.asking import ask
from everloop.loop.calibrating import reference_of
from everloop.loop.commands import APPROVE, DEPLOY, PROMOTE, RETRAIN, ROLLBACK, post, result
from everloop.loop.controller import Controller
from everloop.loop.repeating import repeat
from everloop.loop.trail import show
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace, opened
from everloop.serving import read_plan
from everloop.types import Event, Prediction

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


def test_before_there_is_a_model_one_can_only_be_trained(loop: Loop) -> None:
    for type in (PROMOTE, ROLLBACK):
        assert "there is no champion yet" in loop.ask(type)["error"]
    assert loop.ask(RETRAIN)["decision"] == "d-1"
    assert loop.champion == "v1"


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


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("training.horizon", "x", "--set: [training.horizon] 'x' is no duration"),
        ("training.max_rows", -1, "--set: [training.max_rows] -1 lies outside 0 to"),
        ("training.horizn", "3d", "unknown key 'horizn' in [training] (did you mean 'horizon'?)"),
        ("data.target", "y", "'data.target' cannot be set for one run"),
    ],
)
def test_what_cannot_be_set_for_a_run_is_refused_before_it_is_decided(
    loop: Loop, key: str, value: Any, told: str
) -> None:
    assert told in loop.ask(RETRAIN, set={key: value})["error"]
    assert loop.rows(tables.decision) == []


def test_a_project_without_data_asks_for_some_once(loop: Loop) -> None:
    file = loop.workspace.folder / "data" / "history.csv"
    rows = file.read_bytes()
    file.unlink()
    for second in range(3):
        loop.controller.step(NOW + second)
    [asked] = loop.rows(tables.decision)
    assert (asked["response"], asked["status"]) == ("ask", "done")
    assert "no model yet, and no data: [data] source 'data/*.csv': no file matches in" in asked["reason"]
    file.write_bytes(rows)
    loop.controller.step(NOW + 3)
    assert [decision["response"] for decision in loop.rows(tables.decision)] == ["ask", "retrain"]
    assert loop.champion == "v1"


def test_a_promotion_and_the_way_back(loop: Loop) -> None:
    trained(loop).ask(RETRAIN)
    outcome = loop.ask(PROMOTE, version="v2", reason="looks right")
    assert outcome["champion"] == loop.champion == "v2"
    assert [v["stage"] for v in loop.rows(tables.model_version)] == ["archived", "production"]
    (decision,) = [d for d in loop.rows(tables.decision) if d["id"] == outcome["decision"]]
    assert (decision["response"], decision["evidence"]["before"]) == ("promote", "v1")
    assert show(loop.workspace, decision["id"]).links["version"] == ["v2", "v1"]
    assert decision["id"] in show(loop.workspace, "v2").links["decision"]
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
    reference = reference_of(model, 86400.0, None)
    assert loop.controller.state.drift.baseline == reference.baseline
    assert np.sqrt(np.mean(reference.baseline)) == pytest.approx(version["metrics"]["rmse"], rel=0.15)


def test_a_command_is_stored_with_what_it_did(loop: Loop) -> None:
    trained(loop).ask(RETRAIN)
    loop.ask(PROMOTE, version="v2")
    loop.controller.close()
    loop.controller = loop.start()  # as after a crash: all of it is in the store
    assert loop.controller.state.rollout is None
    loop.controller.step(NOW + 100)
    assert loop.champion == "v2"


def test_a_version_is_deployed_by_the_strategy_that_was_named(loop: Loop) -> None:
    trained(loop).ask(RETRAIN)
    assert "rollout r-1 is being judged: promote v2, or roll back" in loop.ask(DEPLOY, version="v1")["error"]
    loop.ask(ROLLBACK)
    assert loop.ask(DEPLOY, version="v1")["error"] == "v1 is the champion already"
    shadow = loop.ask(DEPLOY, version="v2", strategy="shadow", reason="look again")
    rollout = loop.rows(tables.rollout)[-1]
    assert (shadow["rollout"], rollout["status"], rollout["decision"]) == ("r-2", "shadow", shadow["decision"])
    loop.ask(ROLLBACK)
    assert loop.ask(DEPLOY, version="v2", strategy="replace")["champion"] == "v2"
    assert loop.champion == "v2"


def test_a_version_waits_for_a_person_where_the_gates_say_so(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with (folder / "everloop.toml").open("a") as file:
        file.write("[gates]\napproval = true\n")
    with opened(folder) as workspace:
        loop = Loop(workspace)
        loop.controller.step(NOW)
        assert not workspace.plan.exists()
        loop.controller.step(NOW + 1)  # it asks once
        assert [(d["id"], d["evidence"]["outcome"]["waits_for"]) for d in loop.rows(tables.decision)] == [
            ("d-1", "approval")
        ]
        assert loop.ask(APPROVE, version="v1")["champion"] == "v1"
        decision = loop.ask(RETRAIN)["decision"]
        assert [v["stage"] for v in loop.rows(tables.model_version)] == ["production", "staged"]
        assert decision == "d-3"
        assert loop.ask(APPROVE, version="v2", reason="seen")["rollout"] == "r-1"
        loop.ask(ROLLBACK)
        assert loop.ask(APPROVE, version="v2")["error"] == (
            "v2 does not wait for approval, it is rejected: `everloop deploy` it"
        )
        responses = [d["response"] for d in loop.rows(tables.decision)]
        assert responses == ["retrain", "approve", "retrain", "approve", "roll_back"]


def test_a_first_version_that_fails_its_gate_is_not_trained_again_and_again(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with (folder / "everloop.toml").open("a") as file:
        file.write("[gates]\nrmse = { max = 0.001 }\n")
    with opened(folder) as workspace:
        loop = Loop(workspace)
        for second in range(3):
            loop.controller.step(NOW + second)
        assert [v["stage"] for v in loop.rows(tables.model_version)] == ["rejected"]


def test_without_a_controller_it_is_done_at_once(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    lines: list[str] = []
    steps: list[str] = []
    outcome = ask(
        folder, RETRAIN, {"reason": "first"}, lambda line: lines.append(line.kind), lambda p: steps.append(p.step)
    )
    assert outcome["champion"] == "v1"
    assert {"decision", "gate", "rollout"} <= set(lines)
    assert {"collect", "train", "assemble"} <= set(steps)
    assert ask(folder, RETRAIN, {})["rollout"] == "r-1"
    assert ask(folder, PROMOTE, {"version": "v2"})["champion"] == "v2"
    with pytest.raises(UsageError, match="no version of model 'toy' 'v22'"):
        ask(folder, PROMOTE, {"version": "v22"})


def test_what_a_dead_process_left_open_is_carried_out_by_the_next(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with opened(folder) as workspace:
        post(workspace.store, Event("left", RETRAIN, "test", NOW, data={"reason": "left behind"}))
    ask(folder, RETRAIN, {"reason": "mine"})
    with opened(folder) as workspace:
        told = [(d["reason"], d["status"]) for d in workspace.store.rows(sa.select(tables.decision))]
    assert told == [("left behind", "done"), ("mine", "done")]


def test_a_training_that_crashes_its_process_fails_alone(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    ask(folder, RETRAIN, {"reason": "first"})
    model = folder / "toy" / "model.py"
    good = model.read_text()
    crash = "import os\n\n\nclass Crash(LinearRegression):\n    def fit(self, *_):\n        os.abort()\n"
    model.write_text(f"{good}\n{crash}".replace("StandardScaler(), LinearRegression()", "StandardScaler(), Crash()"))
    with pytest.raises(CheckError, match=r"step 'choose_window' failed: its process crashed \(SIGABRT\)"):
        ask(folder, RETRAIN, {"reason": "second"})
    model.write_text(good)
    assert ask(folder, RETRAIN, {"reason": "third"})["rollout"] == "r-1"
    with opened(folder) as workspace:
        assert [d["status"] for d in workspace.store.rows(sa.select(tables.decision))] == ["done", "failed", "done"]


def test_a_native_model_goes_through_the_whole_loop(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project", "classification", days=30, change=60)
    text = (folder / "everloop.toml").read_text()
    allowed = text.replace("[training]", '[serving]\nnative = []\n\n[training]\nruntime = "native"')
    (folder / "everloop.toml").write_text(text.replace("[training]", '[training]\nruntime = "native"'))
    with (
        pytest.raises(SettingsError, match=r"\[training.runtime\] 'native' needs \[serving\] native = \[\]"),
        opened(folder),
    ):
        pass
    (folder / "everloop.toml").write_text(allowed)
    with opened(folder) as workspace:
        loop = Loop(workspace)
        loop.ask(RETRAIN)
        (version,) = loop.rows(tables.model_version)
        model = workspace.model(version["bundle"])
        assert (model.native, model.guards.names) == (True, ("schema",))
        assert version["sha256"] == model.bundle.manifest.files["native.json"]
        assert "model.onnx" not in model.bundle.files
        asked = {name: [0.5, -0.5] for name in ("a", "b", "hour")}
        found = model.predict({name: np.array(values) for name, values in asked.items()})
        assert found["probability"].shape == (2, 2)
        assert set(found["label"].tolist()) <= {"yes", "no"}
        told = Prediction("toy", "v1", asked, model.predict_lists(asked))
        with contextlib.closing(Writer(workspace.journal)) as writer:
            announce(writer, NOW)
            writer.append("prediction", "a-prediction", NOW, msgspec.json.encode(told))
        again = repeat(workspace, "a-prediction")
        assert (again.equal, again.promised) == (True, False)
        assert again.because == ["a native model, the builds of whose libraries are not journalled"]
        loop.ask(RETRAIN)  # the champion is one to beat
        assert len(loop.rows(tables.model_version)) == 2
        loop.controller.close()
