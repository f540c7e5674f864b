"""The files that let a CI system work for a project: described from its settings, rendered, written."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Literal

from everloop import git
from everloop.errors import UsageError
from everloop.exporters import cloud_build, github_actions, jenkins
from everloop.exporters.stages import Described
from everloop.loop.dataset import data_folder
from everloop.loop.written_files import write_texts
from everloop.settings import FILE, load

__all__ = ["System", "describe", "write_files"]

System = Literal["github", "jenkins", "cloudbuild"]
_RENDER: dict[System, Callable[[Described], dict[str, str]]] = {
    "github": github_actions.render,
    "jenkins": jenkins.render,
    "cloudbuild": cloud_build.render,
}


def write_files(folder: Path, system: System, branch: str | None = None, *, force: bool = False) -> list[str]:
    """Write a system's files into a project and return their paths; all of them, or none.

    Raises UsageError where one is there with other content, unless `force`.
    """
    files = _RENDER[system](describe(folder, branch))
    changed = [name for name, text in files.items() if (folder / name).exists() and _text(folder / name) != text]
    if changed and not force:
        raise UsageError(
            f"{', '.join(changed)} is there already, with other content, and nothing was written: move it away, or say "
            "--force to replace it"
        )
    write_texts(folder, files)
    return list(files)


def describe(folder: Path, branch: str | None = None) -> Described:
    """Return what a project's files depend on; raises UsageError for a project below its repository's root."""
    settings = load(folder)
    branch = branch or (git.branch(folder) if git.is_repository(folder) else "") or "main"
    if not re.fullmatch(r"\w[\w./-]*", branch):
        raise UsageError(f"--branch {branch!r}: letters, digits, '.', '_', '/' and '-' name a branch")
    if git.is_repository(folder) and (inside := git.prefix(folder)):
        raise UsageError(f"CI files belong to a repository's root, and this project lies in its folder {inside}")
    data, named = data_folder(settings), settings.pipelines.requirements
    own = named or ("requirements.txt" if (folder / "requirements.txt").is_file() else "")
    return Described(
        name=settings.project.name,
        requirements=f"-r {own}" if own else f'"everloop[platform]=={metadata.version("everloop")}"',
        keyed=own or FILE,
        pointer=f"{data}.dvc" if data else None,
        compiled=settings.pipelines.runner == "kubeflow",
        secrets=tuple(secret.rpartition("=")[2] for secret in settings.pipelines.secrets),
        branch=branch,
        python="{}.{}".format(*sys.version_info),
    )


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
