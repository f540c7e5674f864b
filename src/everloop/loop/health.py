"""What this machine lacks for a project, and how to get it."""

from __future__ import annotations

import importlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from everloop import git
from everloop.data.dvc import Repository
from everloop.errors import EverloopError
from everloop.settings import load

__all__ = ["Finding", "examine"]

ROOM = 1 << 30
PACKAGES = (
    "dvc",
    "lightgbm",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "skl2onnx",
    "sklearn",
    "sqlalchemy",
)


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: whether it is well, what was found, and what to do where it is not."""

    what: str
    well: bool
    found: str
    do: str = ""


def examine(folder: Path) -> list[Finding]:
    """Return what was found on this machine and, where `folder` is a project, in it; nothing is changed."""
    return [*_machine(folder), *_project(folder)]


def _machine(folder: Path) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", (3, 11) <= sys.version_info[:2] <= (3, 13), version, "use Python 3.11 to 3.13")
    for package in PACKAGES:
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            yield Finding(package, False, str(error), "pip install 'everloop[platform]'")
        except OSError as error:  # a system library that its wheel needs
            yield Finding(
                package, False, str(error), "apt-get install libgomp1" if "gomp" in str(error) else "see above"
            )
        else:
            yield Finding(package, True, str(getattr(module, "__version__", "there")))
    yield _git()
    free = shutil.disk_usage(folder if folder.exists() else Path()).free
    yield Finding("disk", free >= ROOM, f"{free / 1e9:.1f} GB free", "free at least 1 GB")


def _git() -> Finding:
    try:
        told = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return Finding("git", False, "not found", "install git: without it versions name no commit")
    return Finding("git", True, told.strip().removeprefix("git version "))


def _versions(folder: Path) -> Finding:
    """Look whether the project's data can have versions."""
    if not git.is_repository(folder):
        return Finding("versions", False, "the project is not under git", f"git init {folder}, then commit it")
    if not (folder / ".dvc").is_dir():
        return Finding("versions", True, "git; the first `everloop data add` sets DVC up")
    remote = Repository(folder, "data").remote()
    return Finding("versions", True, f"git and DVC, {f'remote {remote!r}' if remote else 'no remote'}")


def _project(folder: Path) -> Iterator[Finding]:
    try:
        settings = load(folder)
    except EverloopError as error:
        yield Finding("project", False, str(error), "everloop init NAME writes one")
        return
    yield Finding("project", True, settings.project.name)
    yield _versions(folder)
    host, port = settings.serving.host, settings.serving.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            yield Finding("port", False, f"{host}:{port}: {error.strerror}", "set [serving] port, or stop who has it")
        else:
            yield Finding("port", True, f"{host}:{port} is free")
