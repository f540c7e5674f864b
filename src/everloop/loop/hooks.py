"""A git hook that tells the loop of a commit or a push at once, where polling would be a minute late."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Literal

from everloop import git
from everloop.errors import UsageError
from everloop.loop.commands import post
from everloop.loop.workspace import Workspace
from everloop.settings import load
from everloop.triggers import push_event

__all__ = ["Kind", "install", "pushed"]

Kind = Literal["post-commit", "post-receive"]
MARK = "# everloop: tells the loop what moved"
_HOOKS = {
    "post-commit": """\
branch=$(git symbolic-ref --short -q HEAD) || exit 0
before=$(git rev-parse -q --verify HEAD~1) || exit 0
commit=$(git rev-parse HEAD)
unset GIT_DIR GIT_INDEX_FILE
exec {push} --branch "$branch" --before "$before" --commit "$commit"
""",
    "post-receive": """\
unset GIT_DIR
while read -r before commit ref; do
    case "$ref" in refs/heads/*) {push} --branch "${{ref#refs/heads/}}" --before "$before" --commit "$commit" ;; esac
done
""",
}


def install(project: Path, repository: Path, kind: Kind) -> Path:
    """Write the hook into a repository (the project's own, or the bare one that is pushed to) and return its path.

    Raises `UsageError` where another hook is there, or somebody changed this one.
    """
    load(project)
    if not git.is_repository(repository) and not (repository / "objects").is_dir():
        raise UsageError(f"{repository} is not under git: run `git init` there first")
    place = Path(git.run(repository, "rev-parse", "--git-path", "hooks").strip())
    path = repository.resolve() / place / kind
    command = [sys.executable, "-m", "everloop.cli", "triggers", "push", "--project", str(project.resolve())]
    text = f"#!/bin/sh\n{MARK}\n{_HOOKS[kind].format(push=shlex.join(command))}"
    found = path.read_text(encoding="utf-8", errors="replace") if path.exists() else text
    if MARK not in found:
        raise UsageError(f"{path} is there already: add `{shlex.join(command)}` with --branch, --before and --commit")
    if found != text:
        raise UsageError(
            f"{path} differs from what is written there now: move it away, install, and add your lines again"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def pushed(workspace: Workspace, branch: str, before: str, commit: str, now: float) -> dict[str, str | bool]:
    """Store what the hook tells, a branch that moved, and return the event's id and whether it is new.

    Raises UsageError for what names no commit. Whether the repository has it is seen later: it may not be there yet.
    """
    for option, value in (("before", before), ("commit", commit)):
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", value):
            raise UsageError(f"--{option} {value!r} is no commit: give all 40 digits, as `git rev-parse` does")
    if not branch.strip():
        raise UsageError("--branch is empty: name the branch that moved")
    event = push_event(branch=branch, commit=commit, before=before, time=now, source="hook")
    return {"event": event.id, "stored": post(workspace.store, event)}
