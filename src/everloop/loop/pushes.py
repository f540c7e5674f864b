"""What a push holds: code, for a new pipeline version; data, which the deployed one is trained on; or neither."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from everloop import git
from everloop.data import schema_file
from everloop.errors import SystemError_, UsageError
from everloop.loop.dataset import data_folder
from everloop.loop.pipeline_versions import versions
from everloop.loop.workspace import Workspace

__all__ = ["TRAINED", "Kind", "kind_of", "kind_of_push"]

Kind = Literal["code", "data", "nothing"]
TRAINED = "refs/everloop/trained"
"""The commit that continuous training came to last; a push that failed is thereby seen again by the next."""

_NOTHING = ("*.md", "docs/*", "LICENSE*", ".gitignore", ".dvcignore", ".github/*", "Jenkinsfile", "cloudbuild*.yaml")


def kind_of_push(workspace: Workspace, commit: str) -> Kind:
    """Return what a commit brings: code that the deployed pipeline version has not, else anything not trained on yet.

    Without a deployed version it is code; what was deployed but never trained counts as data. Raises UsageError
    for a commit that the repository does not have.
    """
    try:
        commit = git.commit_of(workspace.folder, commit)
    except SystemError_ as error:
        raise UsageError(str(error)) from error
    deployed = next((row["commit"] for row in versions(workspace) if row["active"]), None)
    folder = data_folder(workspace.settings)
    if deployed is None or "code" in (kind_of(name, folder) for name in _changed(workspace, deployed, commit)):
        return "code"
    trained = _known(workspace, TRAINED)
    if trained is None:
        return "data"
    kinds = {kind_of(name, folder) for name in _changed(workspace, trained, commit)}
    return "data" if kinds - {"nothing"} else "nothing"


def kind_of(name: str, data: str | None) -> Kind:
    """Return what a changed file is, by its path in the project; `data` is the data folder."""
    path = PurePosixPath(name)
    inside = data is not None and path.is_relative_to(data)
    if inside or path.suffix == ".dvc" or path.parts[0] == ".dvc" or name == schema_file.FILE:
        return "data"
    return "nothing" if any(_fits(path, pattern) for pattern in _NOTHING) else "code"


def _fits(path: PurePosixPath, pattern: str) -> bool:
    folder, star, _ = pattern.partition("/*")
    return path.is_relative_to(folder) if star else path.match(pattern)


def _changed(workspace: Workspace, before: str, after: str) -> list[str]:
    told = git.run(workspace.folder, "diff", "--name-only", "--no-renames", "--relative", "-z", before, after)
    return [name for name in told.split("\0") if name]


def _known(workspace: Workspace, ref: str) -> str | None:
    try:
        return git.commit_of(workspace.folder, ref)
    except SystemError_:
        return None
