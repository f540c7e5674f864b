"""A new project: a template's files, a name, a git repository."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from everloop.errors import SystemError_, UsageError, close_match

__all__ = ["commit_all", "copy_template", "create_project", "templates"]

FILE = "everloop.toml"


def templates() -> list[str]:
    """Return the names of the templates."""
    folder = resources.files("everloop") / "templates"
    return sorted(entry.name for entry in folder.iterdir() if (entry / FILE).is_file())


def create_project(folder: Path, template: str) -> bool:
    """Write a template's project, named as its folder, and commit it; returns whether git took it.

    Raises `UsageError` for an unknown template, a folder that holds something, and a project inside of another.
    """
    known = templates()
    if template not in known:
        raise UsageError(f"no template {template!r}{close_match(template, known)}: one of {', '.join(known)}")
    name = folder.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise UsageError(f"{name!r} cannot name a project: use letters, digits, '.', '_' and '-'")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already, and not an empty folder: choose another name")
    outer = next((p for p in folder.resolve().parents if (p / FILE).is_file()), None)
    if outer:
        raise UsageError(f"{folder} would lie inside of the project {outer}: make it beside that one")
    partial = folder.resolve().with_name(f".{name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        copy_template(template, partial)
        settings = partial / FILE
        named = re.sub(r'(?m)^name = ".*"$', f'name = "{name}"', settings.read_text(encoding="utf-8"), count=1)
        settings.write_text(named, encoding="utf-8")
        (partial / "data").mkdir()
        if folder.is_dir():
            folder.rmdir()
        partial.rename(folder.resolve())
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SystemError_(f"{folder} cannot be written: {error.strerror}") from error
    return commit_all(folder, "A new Everloop project")


def copy_template(template: str, folder: Path) -> None:
    """Copy a template's files into a new folder."""
    with resources.as_file(resources.files("everloop") / "templates" / template) as source:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))


def commit_all(folder: Path, message: str, *identity: str) -> bool:
    """Make a folder a git repository of one commit; returns False where git is missing or does not know the author.

    `identity` holds `-c` settings to commit with.
    """
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", message]):
        try:
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return False
    return True
