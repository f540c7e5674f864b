"""A version's report: its numbers beside those of whom it had to beat, from the rows alone, as harmless Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.projects import history, write_project

from everloop import registry
from everloop.errors import NotFoundError, UsageError
from everloop.loop.asking import ask
from everloop.loop.commands import PROMOTE, RETRAIN, ROLLBACK
from everloop.loop.version_report import render_report
from everloop.loop.workspace import Workspace, opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion, and a candidate trained on later rows for a reason that holds markup."""
    folder = write_project(tmp_path_factory.mktemp("report") / "project", days=40)
    ask(folder, RETRAIN, {"reason": "first"})
    history(days=60).to_csv(folder / "data" / "history.csv", index=False)
    ask(folder, RETRAIN, {"reason": "<img src=x> | `rm` @all\n# new"})
    return folder


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with opened(folder) as workspace:
        yield workspace


def test_a_candidate_stands_beside_its_champion(workspace: Workspace) -> None:
    text = render_report(workspace)
    lines = text.splitlines()
    assert lines[0] == "<!-- everloop report: toy -->"
    assert lines[1] == "## v2 of toy passes its gate"
    with workspace.store.read() as connection:
        first, second = (registry.get(connection, "toy", id) for id in ("v1", "v2"))
    assert "| metric | v2 | champion v1 | difference |" in lines
    for name, value in second["metrics"].items():
        theirs = first["metrics"][name]
        assert f"| {name} | {value:.4g} | {theirs:.4g} | {value - theirs:+.4g} |" in lines
    gain = next(line for line in lines if line.startswith("| beats_champion |"))
    assert "| pass | loss " in gain
    assert "; loss lower by " in gain
    assert any(line.startswith("- data: data-2, 720 rows, 2024-01-01 to 2024-02-29") for line in lines)
    assert any(line.startswith(f"- trained on: {second['window']['name']}: ") for line in lines)
    assert any(line.startswith("- rollout: r-1, ") and line.endswith(" of the traffic") for line in lines)
    assert f"run {second['run']}" in text
    assert "`everloop show v2`" in text


def test_texts_of_others_are_no_markup(workspace: Workspace) -> None:
    decided = next(line for line in render_report(workspace).splitlines() if line.startswith("- decision: "))
    assert decided == "- decision: d-2, &lt;img src=x> &#124; &#96;rm&#96; &#64;all # new"


def test_the_first_version_had_nobody_to_beat(workspace: Workspace) -> None:
    text = render_report(workspace, "v1")
    assert "| metric | v1 | champion (none) | difference |" in text
    assert "no champion yet" in text
    assert "- rollout: none; the version is production" in text


def test_the_champion_is_the_one_that_was_to_be_beaten(folder: Path) -> None:
    ask(folder, PROMOTE, {"version": "v2", "reason": "test"})
    with opened(folder) as workspace:
        text = render_report(workspace, "v2")
    assert "champion v1" in text
    assert "- rollout: r-1, promoted\n" in text
    ask(folder, ROLLBACK, {"reason": "test"})


def test_what_is_not_there(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="'v9'"):
        render_report(workspace, "v9")
    with opened(write_project(tmp_path / "new")) as new, pytest.raises(UsageError, match="`everloop run` trains"):
        render_report(new)
