"""A/B tests and bandits in the whole loop, and what `everloop deployment show` says of a rollout under way."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.loop.test_asking import NOW, Loop
from tests.projects import write_project
from tests.replays import replay
from tests.serving.sites import read_journal

from everloop import store as tables
from everloop.loop.commands import DEPLOY, PROMOTE, RETRAIN, ROLLBACK
from everloop.loop.deployment import deployment
from everloop.loop.rollout_report import report
from everloop.loop.workspace import opened
from everloop.serving import read_plan
from everloop.types import Prediction


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ab", "bandit"])
def test_the_better_version_is_found_by_what_each_one_answered(tmp_path: Path, strategy: str) -> None:
    folder = write_project(tmp_path / "project")
    file = folder / "everloop.toml"
    file.write_text(file.read_text().replace("[deployment]\n", f'[deployment]\nstrategy = "{strategy}"\n'))
    with replay(folder, tmp_path / "work") as replayed:
        rollouts = replayed.rows(tables.rollout)
        promoted = [r for r in rollouts if r["status"] == "promoted"]
        assert promoted
        assert {r["verdict"]["evidence"]["strategy"] for r in promoted} == {strategy}
        assert "labels of drawn answers" in promoted[0]["verdict"]["reason"]
        journal = read_journal(replayed.workspace.journal)
    answered = [record.read(Prediction) for record in journal if record.kind == "prediction"]
    drawn = [p for p in answered if p.why == "weight"]
    shares = {p.propensity for p in drawn if p.variant == "candidate"}
    assert 0.5 in shares
    assert (len(shares) > 1) == (strategy == "bandit")
    expected = sum(p.propensity if p.variant == "candidate" else 1 - p.propensity for p in drawn)
    assert abs(sum(p.variant == "candidate" for p in drawn) - expected) < 4 * (0.25 * len(drawn)) ** 0.5


def test_what_is_shown_of_a_deployment(tmp_path: Path) -> None:
    with opened(write_project(tmp_path / "project")) as workspace:
        assert deployment(workspace)["versions"] == []
        loop = Loop(workspace)
        loop.controller.step(NOW)
        first = deployment(workspace)
        assert first["versions"] == [{"version": "v1", "role": "champion", "share": 1.0, "rows_answered": 0}]
        assert first["rollout"] is None
        loop.ask(RETRAIN)
        loop.ask(ROLLBACK)
        for strategy, share in (("ab", 0.5), ("bandit", 0.5), ("canary", 0.1), ("shadow", 0.0)):
            loop.ask(DEPLOY, version="v2", strategy=strategy)
            told = deployment(workspace)
            assert [(v["version"], v["share"]) for v in told["versions"]] == [("v1", 1 - share), ("v2", share)]
            candidate = read_plan(workspace.plan).candidate
            assert candidate is not None
            assert candidate.weight == share
            assert told["rollout"]["strategy"] == strategy
            assert told["rollout"]["labels_needed"] == 24
            assert told["rollout"]["answers_compared"] is None
            assert set(told["rollout"]["checks"]) == {"errors", "latency", "guards", "slices", "fairness"}
            loop.ask(ROLLBACK, reason=f"no {strategy}")
            ended = loop.rows(tables.rollout)[-1]
            assert (ended["status"], ended["verdict"]["reason"]) == ("rolled_back", f"no {strategy}")
        loop.ask(DEPLOY, version="v2", strategy="bandit")
        assert loop.ask(PROMOTE, version="v2", reason="enough seen")["champion"] == "v2"
        ended = loop.rows(tables.rollout)[-1]
        assert (ended["status"], ended["verdict"]["reason"]) == ("promoted", "enough seen")
        loop.controller.close()


@pytest.mark.slow
def test_where_the_answer_changes_the_label_versions_are_compared_by_key(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    file = folder / "everloop.toml"
    chosen = '[deployment]\nstrategy = "ab"\nlabels = "affected"\nsticky_by = "column:a"\n'
    file.write_text(file.read_text().replace("[deployment]\n", chosen))
    with replay(folder, tmp_path / "work") as replayed:
        promoted = [r for r in replayed.rows(tables.rollout) if r["status"] == "promoted"]
        assert promoted
        assert " keys in " in promoted[0]["verdict"]["reason"]
        told = report(replayed.workspace, promoted[0]["id"])
        assert told["counted"]["keys"] >= 24
        assert told["effect"]["interval"][0] > 0
