"""A branch of the project's repository: what was pushed to its remote, or committed where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from everloop import git
from everloop.errors import UsageError
from everloop.loop.sensors.sensor import Noticed
from everloop.triggers import push_event

__all__ = ["GitSensor"]


class GitSensor:
    """Fetches one branch; its cursor is the commit that was seen last."""

    def __init__(self, folder: Path, remote: str, branch: str, every: float) -> None:
        self._folder, self._remote, self._branch = folder, remote, branch
        self.name, self.every = f"git:{remote}/{branch}", every

    def look(self, cursor: dict[str, Any], now: float) -> Noticed:
        """Return one event where the branch moved, whatever number of pushes moved it.

        Raises `UsageError` where the repository has commits and no such branch.
        """
        if not git.is_repository(self._folder):
            return Noticed(cursor)
        git.fetch(self._folder, self._remote, self._branch)
        commit, before = git.tip(self._folder, self._remote, self._branch), cursor.get("commit")
        if commit is None and (here := git.branch(self._folder)) and git.has(self._folder, "HEAD"):
            raise UsageError(
                f"there is no branch {self._branch!r} to watch (here is {here!r}): name it in [triggers] branch"
            )
        if commit is None or commit == before:
            return Noticed(cursor)
        if before is None:
            return Noticed({"commit": commit})
        known = before if git.has(self._folder, before) else None
        event = push_event(
            branch=self._branch,
            commit=commit,
            before=before,
            time=now,
            source="poll",
            repository=str(self._folder),
            paths=git.changed(self._folder, known, commit),
        )
        return Noticed({"commit": commit}, [event])
