"""A version's report: its numbers beside those of whom it had to beat, from the rows alone, as harmless Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.projects import write_project

from everloop import registry
from everloop.checks import Verdict
from everloop.data.versions import record
from everloop.errors import NotFoundError, UsageError
from everloop.evaluation import GateEvidence, build_gate
from everloop.loop.records import record_decision, record_rollout
from everloop.loop.version_report import render_report
from everloop.loop.workspace import Workspace, opened
from everloop.rollouts import RolloutRules, begin
from everloop.types import Decision

DAY = 86_400.0
PASSED = Verdict("test", "pass", "fine")
GATES = {"rmse": {"max": 50}, "beats_champion": True}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A champion, v1, and v2 beside it in a canary, retrained for a reason that holds markup."""
    with opened(write_project(tmp_path / "project", days=2)) as workspace:
        register(workspace, 20.0, None)
        with workspace.store.begin() as connection:
            registry.set_alias(connection, "toy", "champion", "v1", PASSED, DAY)
            registry.set_stage(connection, "toy", "v1", "production", DAY)
        register(workspace, 15.5, (400.0, 500.0, 450.0), reason="<img src=x> | `rm` @all\n# new")
        with workspace.store.begin() as connection:
            record_rollout(connection, begin("v1", "v2", 3 * DAY, RolloutRules()), 3 * DAY, decision="d-2")
        yield workspace


def register(workspace: Workspace, rmse: float, champion: tuple[float, ...] | None, reason: str = "first") -> str:
    """Register what a retraining gave, judged by the real gate."""
    evidence = GateEvidence({"rmse": rmse}, (240.0, 260.0, 235.0), champion)
    with workspace.store.begin() as connection:
        count = len(registry.list_versions(connection, "toy")) + 1
        record_decision(connection, Decision(count * DAY, "retrain", reason), status="done", run=f"run-{count}")
        data = record(
            connection, artifact=f"a{count}", rows=480 * count, start=0.0, end=10 * DAY, origin="test", time=count * DAY
        )
        return registry.register(
            connection, model="toy", bundle=f"b{count}", sha256=f"s{count}", run=f"run-{count}", data_version=data,
            window={"name": "team", "reason": "it lost less"}, metrics={"rmse": rmse}, commit=f"c{count}",
            verdict=build_gate(GATES)(evidence), time=count * DAY,
        )  # fmt: skip


def test_a_candidate_stands_beside_its_champion(workspace: Workspace) -> None:
    lines = render_report(workspace).splitlines()
    assert lines[:2] == ["<!-- everloop report: toy -->", "## v2 of toy passes its gate"]
    assert "| metric | v2 | champion v1 | difference |" in lines
    assert "| rmse | 15.5 | 20 | -4.5 |" in lines
    assert "| rmse | pass | rmse 15.5 is not above 50 |" in lines
    gain = next(line for line in lines if line.startswith("| beats_champion |"))
    assert gain.startswith(
        "| beats_champion | pass | loss 245 against the champion's 450 on 3 blocks; loss lower by 205 (95 %"
    )
    assert "- data: data-2, 960 rows, 1970-01-01 to 1970-01-11" in lines
    assert "- trained on: team: it lost less" in lines
    assert "- code: c2; run run-2" in lines
    assert "- rollout: r-1, canary, 10% of the traffic" in lines
    assert lines[-1] == "More: `everloop show v2`, `everloop lineage v2`, `everloop show d-2`"


def test_texts_of_others_are_no_markup(workspace: Workspace) -> None:
    decided = next(line for line in render_report(workspace).splitlines() if line.startswith("- decision: "))
    assert decided == "- decision: d-2, &lt;img src=x> &#124; &#96;rm&#96; &#64;all # new"


def test_the_first_version_had_nobody_to_beat(workspace: Workspace) -> None:
    text = render_report(workspace, "v1")
    assert "| metric | v1 | champion (none) | difference |" in text
    assert "| beats_champion | pass | no champion yet |" in text
    assert "- rollout: none; the version is production" in text


def test_the_champion_is_the_one_that_was_to_be_beaten(workspace: Workspace) -> None:
    with workspace.store.begin() as connection:
        registry.set_alias(connection, "toy", "champion", "v2", PASSED, 4 * DAY)
    assert "champion v1" in render_report(workspace, "v2")
    register(workspace, 60.0, (100.0, 90.0, 110.0))
    text = render_report(workspace, "v3")
    assert text.splitlines()[1] == "## v3 of toy fails its gate"
    assert "champion v2" in text
    assert "| rmse | fail | rmse 60 is above 50 |" in text


def test_what_is_not_there(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="'v9'"):
        render_report(workspace, "v9")
    with (
        opened(write_project(tmp_path / "new", days=2)) as new,
        pytest.raises(UsageError, match="`everloop run` trains"),
    ):
        render_report(new)
