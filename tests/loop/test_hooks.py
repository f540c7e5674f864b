"""The git hook: a commit becomes an event, in the project and in the repository that is pushed to."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.pushes import git, push, pushed_project

from everloop import store as tables
from everloop.errors import UsageError
from everloop.loop.hooks import install
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
