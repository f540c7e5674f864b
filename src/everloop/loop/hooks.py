"""A git hook that tells the loop of a commit or a push at once, where polling would be a minute late."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Literal

from everloop import git
from everloop.errors import UsageError

__all__ = ["Kind", "install"]

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

    Raises `UsageError` where another hook is there.
    """
    if not git.is_repository(repository) and not (repository / "objects").is_dir():
        raise UsageError(f"{repository} is not under git: run `git init` there first")
    place = Path(git.run(repository, "rev-parse", "--git-path", "hooks").strip())
    path = repository.resolve() / place / kind
    command = [sys.executable, "-m", "everloop.cli", "triggers", "push", "--project", str(project.resolve())]
    text = f"#!/bin/sh\n{MARK}\n{_HOOKS[kind].format(push=shlex.join(command))}"
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{path} is there already: add `{shlex.join(command)}` with --branch, --before and --commit")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
