"""The git hook: a commit becomes an event, in the project and in the repository that is pushed to."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.projects import write_project
from tests.pushes import git, push, pushed_project

from everloop import store as tables
from everloop.errors import SettingsError, UsageError
from everloop.loop.hooks import install, pushed
from everloop.loop.workspace import opened
from everloop.store import Store
from everloop.triggers import push_event


def events(project: Path) -> list[dict[str, object]]:
    store = Store("sqlite:///.everloop/store.db", project)
    found = store.rows(sa.select(tables.event).order_by(tables.event.c.time))
    store.close()
    return found


@pytest.mark.slow
def test_a_commit_and_a_push_become_events(tmp_path: Path) -> None:
    project, author = pushed_project(tmp_path, days=5)
    install(project, project, "post-commit")
    before = git(project, "rev-parse", "HEAD")
    (project / "toy" / "more.py").write_text("x = 1\n")
    git(project, "add", ".")
    git(project, "commit", "-qm", "more")
    commit = git(project, "rev-parse", "HEAD")
    (event,) = events(project)
    same = push_event(branch="main", commit=commit, before=before, time=0.0, source="poll")
    assert (event["id"], event["source"], event["subject"]) == (same.id, "hook", "refs/heads/main")
    install(project, tmp_path / "remote.git", "post-receive")
    pushed = push(author, toy__other_py="y = 1\n")
    told = {str(e["id"]) for e in events(project)}
    assert push_event(branch="main", commit=pushed, before=before, time=0.0, source="poll").id in told


def test_a_hook_of_somebody_else_stays(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a project"):
        install(tmp_path, tmp_path, "post-commit")
    write_project(tmp_path)
    with pytest.raises(UsageError, match="is not under git"):
        install(tmp_path, tmp_path, "post-commit")
    git(tmp_path, "init", "-q")
    path = install(tmp_path, tmp_path, "post-commit")
    assert path == tmp_path / ".git" / "hooks" / "post-commit"
    assert path.stat().st_mode & 0o111
    assert install(tmp_path, tmp_path, "post-commit") == path  # our own is renewed
    path.write_text("#!/bin/sh\nmake lint\n")
    with pytest.raises(UsageError, match=r"is there already: add `.*triggers push --project .*` with --branch"):
        install(tmp_path, tmp_path, "post-commit")
    assert path.read_text() == "#!/bin/sh\nmake lint\n"


def test_lines_that_somebody_added_stay(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    git(project, "init", "-q")
    path = install(project, project, "post-commit")
    with path.open("a") as file:
        file.write("echo mine\n")
    with pytest.raises(UsageError, match="differs from what is written there now: move it away"):
        install(project, project, "post-commit")
    assert path.read_text().endswith("echo mine\n")


def test_what_moved_is_told_once_and_only_as_commits(tmp_path: Path) -> None:
    with opened(write_project(tmp_path / "project")) as workspace:
        first = pushed(workspace, "main", "a" * 40, "b" * 40, 1.0)
        assert first["stored"] is True
        assert pushed(workspace, "main", "a" * 40, "b" * 40, 2.0) == {"event": first["event"], "stored": False}
        with pytest.raises(UsageError, match="--commit 'HEAD' is no commit: give all 40 digits"):
            pushed(workspace, "main", "a" * 40, "HEAD", 3.0)
        with pytest.raises(UsageError, match="--branch is empty"):
            pushed(workspace, " ", "a" * 40, "c" * 40, 3.0)
