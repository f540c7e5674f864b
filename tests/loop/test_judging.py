"""A candidate that fails requests is rolled back at the next evaluation, and the report says why."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import msgspec
import pytest
from tests.loop.test_asking import NOW, Loop
from tests.projects import write_project

from everloop import store as tables
from everloop.cli.deployment import report as verb
from everloop.errors import UsageError
from everloop.journal import Writer
from everloop.loop.commands import DEPLOY, RETRAIN
from everloop.loop.judging import check_strategy
from everloop.loop.rollout_report import report
from everloop.loop.workspace import opened
from everloop.rollouts import RolloutRules
from everloop.types import Failure, new_id

DAY = 86400.0


def test_failed_requests_end_a_rollout_within_one_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_project(tmp_path / "project")
    with opened(folder) as workspace:
        with pytest.raises(UsageError, match="there was no rollout yet"):
            report(workspace)
        loop = Loop(workspace)
        loop.ask(RETRAIN)
        loop.ask(RETRAIN)
        loop.controller.step(NOW + 10)
        assert report(workspace)["reason"] == "being judged"
        with contextlib.closing(Writer(workspace.journal)) as writer:
            for number in range(8):
                failure = Failure("toy", "v2", 500, "candidate", propensity=0.1)
                writer.append("failure", new_id(NOW + 20 + number), NOW + 20 + number, msgspec.json.encode(failure))
        loop.controller.step(NOW + 10 + DAY)
        (rollout,) = loop.rows(tables.rollout)
        assert rollout["status"] == "rolled_back"
        assert rollout["verdict"]["reason"].startswith("errors: 8 failed requests beside 0 answers of the candidate")
        assert [v["stage"] for v in loop.rows(tables.model_version)] == ["production", "rejected"]
        told = report(workspace, "r-1")
        assert told["checks"]["errors"]["outcome"] == "fail"
        assert told["exposure"]["candidate"]["failed"] == 8
        assert told["effect"]["lower_by"] is None
        loop.ask(DEPLOY, version="v2", strategy="ab")  # another rollout of the same version begins afresh
        loop.controller.step(NOW + 20 + 3 * DAY)
        assert [r["status"] for r in loop.rows(tables.rollout)] == ["rolled_back", "ab"]
        loop.controller.close()
    page = tmp_path / "report.html"
    verb("r-1", folder, page=page)
    assert re.search(r"status +rolled_back", capsys.readouterr().out)
    shown = page.read_text()
    assert "<svg" in shown
    assert '<td class="fail">fail</td><td>errors: 8 failed requests beside 0 answers of the candidate' in shown
    assert "<th>status</th><td>rolled_back</td>" in shown
    assert "errors: 8 failed requests" in page.read_text()


def test_pairs_are_refused_where_the_answer_changes_the_label() -> None:
    with pytest.raises(UsageError, match="strategy 'canary' cannot be judged"):
        check_strategy(RolloutRules("canary", affected=True))
    assert check_strategy(RolloutRules("ab", affected=True)).strategy == "ab"
