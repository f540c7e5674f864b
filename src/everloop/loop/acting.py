"""What a decision asks for before a retraining: new code built, tested and deployed; data brought to where it is read.

Each part may be killed anywhere and is then done again: what is there already stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from everloop import git
from everloop.data import schema_file
from everloop.data.sources import objects
from everloop.errors import UsageError
from everloop.loop.dataset import add_data, data_folder, repository
from everloop.loop.pipeline_versions import build_version, deploy_version, test_version
from everloop.loop.workspace import Workspace

__all__ = ["make_ready"]


def make_ready(workspace: Workspace, run: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Carry out what is asked besides training, and return it with the pipeline `version` that is to train.

    `code` and `data` name commits, `objects` URLs. Raises what the tests, the build, git, DVC or the schema say; the
    version deployed before stays then.
    """
    version = _built(workspace, asked["code"]) if "code" in asked else None
    if "data" in asked:
        _bring_commit(workspace, run, str(asked["data"]["commit"]))
    if "objects" in asked:
        _bring_objects(workspace, run, [str(one["url"]) for one in asked["objects"]])
    if version is None:
        return asked
    deploy_version(workspace, version)
    return {**asked, "version": version}


def _built(workspace: Workspace, code: Mapping[str, Any]) -> str:
    row = build_version(workspace, str(code["commit"]))
    if code.get("test", True) and not row["tested"]:
        test_version(workspace, row["id"])
    return str(row["id"])


def _bring_commit(workspace: Workspace, run: str, commit: str) -> None:
    """Make the project's data what it is at a commit, nothing else of the tree; what has no version is not lost."""
    named, known = data_folder(workspace.settings), repository(workspace)
    if named is None:
        return  # rows are read elsewhere; a pointer of something else moved
    begun = workspace.path(workspace.settings.storage.lease).with_name(f"bringing-{run}")
    if not begun.exists():
        _refuse_to_lose(workspace.folder, named, bool(known and known.changed()))
        begun.touch()  # from here on a difference may be our own work, killed half-way
    git.restore(workspace.folder, commit, schema_file.FILE)
    if known and known.pointer(commit) is not None:
        known.checkout(commit)
    else:
        git.restore(workspace.folder, commit, named)
    begun.unlink(missing_ok=True)


def _refuse_to_lose(folder: Path, named: str, changed: bool) -> None:
    edited = git.run(folder, "diff", "--name-only", "--", named, f"{named}.dvc", schema_file.FILE).split()
    if changed or edited:
        raise UsageError(
            f"{', '.join(edited[:3]) or f'{named}/'} holds changes that no version has, and the push brings others: "
            "commit or drop them, then `everloop run`"
        )


def _bring_objects(workspace: Workspace, run: str, urls: Sequence[str]) -> None:
    """Add objects to the data folder, as a version of it where it has some; what is read where it lies stays there."""
    named = data_folder(workspace.settings)
    if named is None:
        return
    places = [url if "://" in url else str(workspace.path(url)) for url in urls]
    if repository(workspace):
        add_data(workspace, places, replace=True, run=run)
        return
    for place in places:
        target = workspace.folder / named / PurePosixPath(place).name
        if str(target) != place:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            objects.fetch(place, partial)
            partial.replace(target)
