"""Pipeline versions: a commit in a folder of its own and the packages it runs with, frozen, tested, deployed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from everloop import git
from everloop import store as tables
from everloop.errors import CheckError, NotFoundError, UsageError
from everloop.loop.workspace import Workspace
from everloop.pipelines.environments import build_from, everloop_name
from everloop.settings import Settings, load

__all__ = ["Code", "build_version", "code_of", "deploy_version", "run_tests", "test_version", "versions"]

_LAST_LINES = 25


class Code(NamedTuple):
    """The code of a retraining: where it lies, its commit and project file; `python` where it is not the running one.

    `environment` names its packages for the cache where the running ones do not count.
    """

    folder: Path
    commit: str | None
    settings: Settings
    python: str | None = None
    environment: str | None = None


def build_version(workspace: Workspace, ref: str = "HEAD", *, allow_dirty: bool = False) -> dict[str, Any]:
    """Freeze a commit and its packages as a version and return its row; the same commit and packages make no new one.

    Raises UsageError for a tree with changes that no commit holds, unless `allow_dirty` freezes them too, recorded as
    such.
    """
    if not git.is_repository(workspace.folder):
        raise UsageError(f"{workspace.folder} is not under git, which pipeline versions need: run `git init` there")
    dirty = ref == "HEAD" and (git.describe(workspace.folder) or "").endswith("-dirty")
    if dirty and not allow_dirty:
        raise UsageError(
            "the tree has changes that no commit holds: commit them, or say --allow-dirty to freeze them as they are"
        )
    commit = git.snapshot(workspace.folder) if dirty else git.commit_of(workspace.folder, ref)
    folder = _check_out(workspace, commit)
    python, lock = _packages(folder, load(folder))
    digest = hashlib.sha256(msgspec.json.encode(lock, order="sorted")).hexdigest()[:16]
    row = {"commit": commit, "dirty": int(dirty), "folder": str(folder), "python": python, "lock": lock}
    with workspace.store.begin() as connection:
        table = tables.pipeline_version
        known = connection.execute(sa.select(table).where(table.c.commit == commit, table.c.lock_hash == digest))
        if found := known.mappings().first():
            return dict(found)
        number = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() + 1
        row |= {"id": f"pipeline-{number}", "number": number, "lock_hash": digest, "built": time.time()}
        connection.execute(table.insert().values(**row))
    return get(workspace, str(row["id"]))


def test_version(workspace: Workspace, id: str) -> str:
    """Run the project's own tests as the version holds them, with its packages; returns their summary line.

    Raises CheckError with the end of what they print where one fails.
    """
    row = get(workspace, id)
    summary = run_tests(Path(row["folder"]), id, row["python"])
    _stamp(workspace, id, "tested")
    return summary or "it has no tests"


def run_tests(folder: Path, what: str, python: str | None = None) -> str:
    """Run the project's own tests in a folder by pytest; returns its summary line, empty where there are none.

    Raises CheckError with the end of what they print where one fails, UsageError where there is no pytest.
    """
    if not (folder / "tests").is_dir():
        return ""
    command = [python or sys.executable, "-m", "pytest", "-q", "tests"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    lines = ended.stdout.strip().splitlines()
    if "No module named pytest" in ended.stderr:
        raise UsageError(f"{what} has tests, but not pytest to run them: install it, or say --no-test")
    if ended.returncode not in (0, 5):  # 5: there is none
        raise CheckError("\n".join([f"the tests of {what} fail:", *lines[-_LAST_LINES:]]))
    return lines[-1] if lines and ended.returncode == 0 else ""


def deploy_version(workspace: Workspace, id: str) -> None:
    """Let data, drift and persons run this version from now on."""
    get(workspace, id)
    _stamp(workspace, id, "deployed")


def versions(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the pipeline versions, newest first; the one deployed last is `active`."""
    table = tables.pipeline_version
    rows = workspace.store.rows(sa.select(table).order_by(table.c.number.desc()))
    active = max((row["deployed"] for row in rows if row["deployed"]), default=None)
    return [{**row, "active": row["deployed"] is not None and row["deployed"] == active} for row in rows]


def get(workspace: Workspace, id: str) -> dict[str, Any]:
    """Return the row of a version; raises NotFoundError."""
    rows = {row["id"]: row for row in versions(workspace)}
    if id not in rows:
        raise NotFoundError("pipeline version", id, rows)
    return rows[id]


def code_of(workspace: Workspace, id: str | None = None) -> Code:
    """Return the code of a version, of the deployed one, or, where none is, of the project as it stands.

    Raises UsageError where the version's packages are not what they were.
    """
    row = get(workspace, id) if id else next((row for row in versions(workspace) if row["active"]), None)
    if row is None:
        return Code(workspace.folder, git.describe(workspace.folder), workspace.settings)
    folder = Path(row["folder"])
    if not folder.is_dir():
        folder = _check_out(workspace, row["commit"])
    commit = f"{row['commit']}-dirty" if row["dirty"] else row["commit"]
    if row["python"]:
        return Code(folder, commit, load(folder), row["python"], row["lock_hash"])
    _refuse_other_packages(row)
    return Code(folder, commit, load(folder))


def _check_out(workspace: Workspace, commit: str) -> Path:
    """Return a folder that holds the project at a commit: a worktree, which shares the repository's objects."""
    place = workspace.path(f".everloop/pipelines/{commit[:12]}")
    inside = place / git.prefix(workspace.folder)
    if not (inside / "everloop.toml").is_file():
        for old in (place, *place.parent.glob(f"{place.name}.*.partial")):
            shutil.rmtree(old, ignore_errors=True)
        partial = place.with_name(f"{place.name}.{os.getpid()}.partial")  # a kill leaves no half version
        git.run(workspace.folder, "worktree", "prune")
        git.run(workspace.folder, "worktree", "add", "--detach", "--force", str(partial), commit)
        git.run(workspace.folder, "worktree", "move", str(partial), str(place))
    return inside


def _packages(folder: Path, settings: Settings) -> tuple[str | None, dict[str, Any]]:
    """Return the Python of a version, None where it is the running one, and what names its packages."""
    named = settings.pipelines.requirements
    if not named:
        return None, {"distributions": _distributions()}
    file = folder / named
    if not file.is_file():
        raise UsageError(f"[pipelines] requirements = {named!r}: commit {folder} holds no such file")
    requirements = file.read_text(encoding="utf-8")
    return str(build_from(requirements)), {"requirements": requirements, "everloop": everloop_name()}


def _distributions() -> dict[str, str]:
    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return dict(sorted(found.items()))


def _refuse_other_packages(row: dict[str, Any]) -> None:
    then, now = row["lock"]["distributions"], _distributions()
    other = [name for name in sorted(then.keys() | now.keys()) if then.get(name) != now.get(name)]
    if other:
        told = ", ".join(f"{name} was {then.get(name, 'absent')}, is {now.get(name, 'absent')}" for name in other[:5])
        raise UsageError(
            f"{row['id']} was built with other packages ({told}): build a new version, or install these, or let "
            "[pipelines] requirements name a file, from which versions get their own"
        )


def _stamp(workspace: Workspace, id: str, column: str) -> None:
    table = tables.pipeline_version
    with workspace.store.begin() as connection:
        connection.execute(table.update().where(table.c.id == id).values({column: time.time()}))
