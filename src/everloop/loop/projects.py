"""A new project: a template's files, a name, a git repository."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from everloop import git
from everloop.data import dvc
from everloop.errors import SystemError_, UsageError, close_match

__all__ = ["commit_all", "copy_template", "create_project", "settings_of", "templates"]

FILE = "everloop.toml"


def templates() -> list[str]:
    """Return the names of the templates."""
    folder = resources.files("everloop") / "templates"
    return sorted(entry.name for entry in folder.iterdir() if (entry / FILE).is_file())


def create_project(
    folder: Path, template: str, settings: Mapping[str, str] | None = None, remote: str | None = None
) -> bool:
    """Write a template's project, named as its folder, and commit it; returns whether git took it.

    `settings` replaces values of its project file (`data.target`, `data.time`, ...; an empty one drops the line);
    `remote` is where DVC keeps its data.

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
    inside = folder.is_dir()  # where a person may stand, a disk may begin, and nothing beside it may be written
    partial = (folder.resolve() if inside else folder.resolve().parent) / f".{name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        copy_template(template, partial)
        path = partial / FILE
        text = path.read_text(encoding="utf-8")
        path.write_text(_with_settings(text, {"project.name": name} | dict(settings or {})), encoding="utf-8")
        (partial / "data").mkdir()
        if inside:
            for entry in partial.iterdir():
                entry.rename(folder / entry.name)
            partial.rmdir()
        else:
            partial.rename(folder.resolve())
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SystemError_(f"{folder} cannot be written: {error.strerror}") from error
    return _under_version_control(folder, remote)


def _under_version_control(folder: Path, remote: str | None) -> bool:
    """Put a new project under git and DVC; returns False where git is missing or takes no commit."""
    try:
        git.start(folder)
        dvc.start(folder)
        if remote:
            dvc.Repository(folder, "data").set_remote(remote)
        git.run(folder, "add", "-A")
        git.commit_files(folder, ["."], "A new Everloop project")
    except SystemError_:
        return False
    return True


def _with_settings(text: str, values: Mapping[str, str]) -> str:
    """Return a project file with texts of it replaced; an empty one drops its line, a new key comes first."""
    for key, value in values.items():
        table, name = key.split(".")
        head, found, body = text.partition(f"[{table}]\n")
        line = f'{name} = "{value}"\n' if value else ""
        inner, mark, rest = body.partition("\n[")
        replaced, count = re.subn(
            rf'(?m)^{name} = "[^"]*"(.*)\n', line.rstrip("\n") + (r"\1\n" if line else ""), inner + "\n"
        )
        text = head + found + (replaced if count else line + inner + "\n").removesuffix("\n") + mark + rest
    return text


def settings_of(target: str | None, time: str | None, task: str | None) -> dict[str, str]:
    """Return the settings of a new project for rows of one's own; a target without a time drops the template's."""
    named = {"data.target": target, "data.time": "" if target and time is None else time, "data.task": task}
    if task == "classification":
        named["training.model"] = "model:classifier"
    return {key: value for key, value in named.items() if value is not None}


def copy_template(template: str, folder: Path) -> None:
    """Copy a template's files into a new folder."""
    with resources.as_file(resources.files("everloop") / "templates" / template) as source:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))


def commit_all(folder: Path, message: str, *identity: str) -> bool:
    """Make a folder a git repository of one commit; returns False where git is missing or does not know the author.

    `identity` holds `-c` settings to commit with.
    """
    try:
        git.start(folder)
        git.run(folder, "add", "-A")
        git.run(folder, *identity, "commit", "-q", "-m", message)
    except SystemError_:
        return False
    return True
