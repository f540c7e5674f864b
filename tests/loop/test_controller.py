"""The loop as a whole, in process: what it decides on a changing world, and that a crash changes nothing."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.projects import write_project
from tests.replays import Replayed, facts, replay

from everloop import store as tables
from everloop.checks import Verdict
from everloop.errors import SettingsError, StepError
from everloop.loop.answering import answers_of
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace
from everloop.registry import alias, get, list_versions
from everloop.serving import read_plan
from everloop.settings import load
from everloop.store import Connection, Store


class CrashError(BaseException):
    """Nothing catches it: the process is gone."""


class CrashingStore(Store):
    """Crashes around one in so many transactions: before it began, or just after it was committed."""

    def __init__(self, url: str, chance: float, seed: int) -> None:
        self.chance, self.random, self.crashes = 0.0, random.Random(seed), 0
        super().__init__(url)
        self.chance = chance

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        self._perhaps()
        with super().begin() as connection:
            yield connection
        self._perhaps()

    def _perhaps(self) -> None:
        if self.random.random() < self.chance:
            self.crashes += 1
            raise CrashError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("toy") / "project")


@pytest.fixture(scope="module")
def calm(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    with replay(folder, tmp_path_factory.mktemp("calm")) as replayed:
        yield replayed


def test_it_retrains_because_the_world_changed_and_gets_better(calm: Replayed) -> None:
    truth, times = calm.history.truth(), calm.history.live_times
    late = times > times[0] + 30 * 86400
    first = calm.workspace.model(calm.rows(tables.model_version)[0]["bundle"])
    assert {"guards.json", "guarded.onnx", "guards/outlier.onnx"} <= set(first.bundle.files)
    assert first.guards.names == ("schema", "outlier", "adversarial")  # a linear model has all three
    frozen = answers_of(first, calm.history.live, calm.history.schema)
    error, without = (np.sqrt(np.mean((a - truth)[late] ** 2)) for a in (calm.played.answers, frozen.reshape(-1)))
    decisions = calm.rows(tables.decision)
    retrained = [d for d in decisions if d["response"] == "retrain"][1:]
    assert retrained
    assert retrained[0]["time"] > times[0] + 14 * 86400  # the change is 15 days after the start: no alarm before
    assert all(d["evidence"]["signals"] and "over" in d["reason"] for d in retrained)
    assert {"promoted"} & {r["status"] for r in calm.rows(tables.rollout)}
    assert error < 0.5 * without


def test_every_decision_is_carried_out_and_every_hold_says_something_new(calm: Replayed) -> None:
    decisions = calm.rows(tables.decision)
    assert {d["status"] for d in decisions} == {"done"}
    holds = [d["reason"] for d in decisions if d["response"] == "hold"]
    assert all(before != after for before, after in itertools.pairwise(holds))


def test_only_a_passed_verdict_holds_an_alias(calm: Replayed) -> None:
    rows = calm.rows(tables.alias)
    assert {r["name"] for r in rows} >= {"champion"}
    assert {r["verdict"]["outcome"] for r in rows} == {"pass"}
    with calm.workspace.store.read() as connection:
        versions = list_versions(connection, "toy")
        champion = alias(connection, "toy", "champion")
    assert [v["id"] for v in versions if v["stage"] == "production"] == [champion]


def test_the_plan_file_says_what_the_rows_say(calm: Replayed) -> None:
    plan = read_plan(calm.workspace.plan)
    with calm.workspace.store.read() as connection:
        champion = alias(connection, "toy", "champion") or ""
        assert plan.champion.version == champion
        assert plan.champion.bundle == get(connection, "toy", champion)["bundle"]


def test_a_retraining_uses_a_versioned_set_of_files_and_journal(calm: Replayed) -> None:
    versions = calm.rows(tables.data_version)
    trained = calm.rows(tables.model_version)
    assert [v["rows"] for v in versions] == sorted({v["rows"] for v in versions})
    assert [v["parent"] for v in versions[1:]] == [v["id"] for v in versions[:-1]]
    assert {m["data_version"] for m in trained} <= {v["id"] for v in versions}
    first, last = versions[0], versions[-1]
    assert first["rows"] == calm.history.start
    assert last["rows"] > first["rows"]
    assert last["end"] < calm.history.times[-1]  # labels come a day late: the newest rows have none yet


def test_signals_are_stored_once_a_day(calm: Replayed) -> None:
    keys = [(s["name"], s["time"]) for s in calm.rows(tables.signal)]
    assert len(keys) == len(set(keys))
    assert {"realised_loss", "challenger_gain"} <= {name for name, _ in keys}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_crash_anywhere_changes_nothing(folder: Path, calm: Replayed, tmp_path: Path, seed: int) -> None:
    stores: list[CrashingStore] = []

    def crashing(workspace: Workspace) -> None:
        workspace.store.close()
        stores.append(CrashingStore(str(workspace.store.url), 0.08, seed + 1000 * len(stores)))
        workspace.store = stores[-1]

    with replay(folder, tmp_path, crashing, CrashError) as crashed:
        assert sum(s.crashes for s in stores) > 10
        assert facts(crashed) == facts(calm)
        assert np.array_equal(crashed.played.answers, calm.played.answers)


def test_a_failed_retraining_is_told_and_the_champion_serves_on(folder: Path, tmp_path: Path) -> None:
    def failing_later(workspace: Workspace) -> None:
        def develop(run: str, decided: float, real: Any, asked: Any) -> Any:
            if workspace.rows_of_versions():  # type: ignore[attr-defined]
                raise StepError("train", "no memory", run)
            return real(run, decided, asked)

        workspace.rows_of_versions = lambda: workspace.store.rows(sa.select(tables.model_version))  # type: ignore[attr-defined]
        workspace.develop_with = develop  # type: ignore[attr-defined]

    with replay(folder, tmp_path, failing_later) as replayed:
        failed = [d for d in replayed.rows(tables.decision) if d["status"] == "failed"]
        assert failed
        assert "no memory" in failed[0]["evidence"]["outcome"]["error"]
        assert set(replayed.played.versions) == {"v1"}


def test_a_project_that_cannot_train_says_so_and_serves_nothing(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    (folder / "toy" / "model.py").write_text("def regression():\n    return 1\n")
    workspace = Workspace(folder, load(folder))
    controller = build_controller(workspace, training_time=lambda t: t, report=lambda _: None)
    with pytest.raises(StepError, match="a scikit-learn estimator is needed"):
        controller.step(1_710_000_000.0)
    (decision,) = workspace.store.rows(sa.select(tables.decision))
    assert (decision["status"], workspace.plan.exists()) == ("failed", False)
    workspace.close()


def test_a_wrong_gate_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with (folder / "everloop.toml").open("a") as file:
        file.write("\n[gates]\nrsme = { max = 3 }\n")
    workspace = Workspace(folder, load(folder))
    with pytest.raises(SettingsError, match=r"unknown metric 'rsme' \(did you mean 'rmse'\?\)"):
        build_controller(workspace, training_time=lambda t: t, report=lambda _: None)
    workspace.close()


def test_a_verdict_survives_the_store(calm: Replayed) -> None:
    verdicts = [r["verdict"] for r in calm.rows(tables.rollout) if r["verdict"]]
    assert verdicts
    assert {Verdict(v["check"], v["outcome"], v["reason"]).passed for v in verdicts} <= {True, False}
