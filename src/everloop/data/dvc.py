"""Data versions with DVC: the files of a project's data folder, and every training set, as pointers in git.

The `dvc` command does all that touches files and remotes. Only a training set, which no working tree ever holds, is put
into DVC's cache here, in its published layout, so that a retraining does not pay a second for a process's start.
"""

from __future__ import annotations

import configparser
import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from everloop import git
from everloop.errors import SystemError_, UsageError

__all__ = ["Pointer", "Repository", "start"]

TAG = "everloop/{}-{}"
CONFIG = """[core]
    analytics = false
[cache]
    type = "hardlink,reflink,copy"
"""
OFF = {"DVC_NO_ANALYTICS": "1", "CORE_CHECK_UPDATE": "false"}


class Pointer(msgspec.Struct, frozen=True):
    """What a `.dvc` file points at: the hash DVC knows the content by, its size in bytes, its number of files."""

    md5: str
    size: int
    files: int


def start(folder: Path) -> None:
    """Make a folder in a git repository a DVC repository too.

    What lies in the data folder and in the cache is one file where the disk can do that, and read-only then.
    """
    inside = git.prefix(folder)
    _dvc(folder, "init", "--quiet", *(["--subdir"] if inside else []))
    (folder / ".dvc" / "config").write_text(CONFIG, encoding="utf-8")
    git.run(folder, "add", f"{git.prefix(folder)}.dvc/config" if not inside else ".dvc/config")


class Repository:
    """The DVC repository of one project, for one data folder in it."""

    def __init__(self, folder: Path, data: str) -> None:
        """`data` is the data folder's path inside of `folder`."""
        self.folder, self.data, self.pointer_file = folder, data, f"{data}.dvc"

    @property
    def there(self) -> bool:
        """Whether the project is under git and DVC."""
        return (self.folder / ".dvc").is_dir() and git.is_repository(self.folder)

    def pointer(self, revision: str | None = None) -> Pointer | None:
        """Return what the data folder's pointer says now, or said at a commit; None where there was none."""
        if revision is None:
            path = self.folder / self.pointer_file
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
        else:
            try:
                text = git.run(self.folder, "show", f"{revision}:./{self.pointer_file}")
            except SystemError_:
                return None
        if not text:
            return None
        out: dict[str, Any] = yaml.safe_load(text)["outs"][0]
        return Pointer(out["md5"], int(out.get("size", 0)), int(out.get("nfiles", 1)))

    def versioned(self) -> list[str]:
        """Return the names of the files that the pointer covers, as far as DVC's cache knows them."""
        pointer = self.pointer()
        listing = self._cached(pointer.md5) if pointer else None
        if listing is None or not listing.is_file():
            return []
        return sorted(entry["relpath"] for entry in msgspec.json.decode(listing.read_bytes()))

    def add(self, names: Sequence[str]) -> None:
        """Version files of the data folder; others that lie there stay out of it."""
        known = self.pointer() is not None
        paths = [f"{self.data}/{name}" for name in names]
        _dvc(self.folder, "add", "--quiet", *(paths if known else [self.data]))

    def changed(self) -> bool:
        """Tell whether the data folder holds something that no version has."""
        place = self.folder / self.data
        if not place.is_dir() or not any(place.iterdir()):
            return False
        return bool(msgspec.json.decode(_dvc(self.folder, "status", "--json", self.pointer_file)))

    def diff(self, before: str, after: str | None) -> dict[str, list[str]]:
        """Return the files `added`, `modified` and `deleted` between two commits, or a commit and the folder now."""
        told = msgspec.json.decode(_dvc(self.folder, "diff", "--json", before, *([after] if after else [])) or b"{}")
        inside = f"{self.data}/"
        return {
            kind: sorted(_path(e) for e in told.get(kind, []) if _path(e).startswith(inside) and _path(e) != inside)
            for kind in ("added", "modified", "deleted")
        }

    def checkout(self, revision: str) -> None:
        """Bring pointer and data folder to what they were at a commit; fetches what this machine lacks."""
        git.run(self.folder, "checkout", "-q", revision, "--", self.pointer_file)
        try:
            _dvc(self.folder, "checkout", "--quiet", "--force", self.pointer_file)
        except SystemError_:
            if not self.remote():
                raise
            _dvc(self.folder, "pull", "--quiet", "--force", self.pointer_file)

    def remote(self) -> str | None:
        """Return the name of the default remote, or None."""
        return self._config().get("core", "remote", fallback=None)

    def set_remote(self, url: str) -> None:
        """Make a folder, a `gs://` or an `s3://` place the default remote."""
        if "://" not in url:
            url = os.path.relpath(Path(url).resolve(), self.folder.resolve())
        _dvc(self.folder, "remote", "add", "--quiet", "--force", "--default", "storage", url)

    def push(self) -> int:
        """Send everything that is versioned, training sets too, to the remote; returns how many files were sent.

        Raises `UsageError` where there is no remote, `SystemError_` with the remote's reason.
        """
        if not self.remote():
            raise UsageError("there is no remote: name one with `everloop data remote URL`")
        self._tell_tags_the_remote()
        sent = re.search(r"(\d+) files? pushed", _dvc(self.folder, "push", "--all-tags").decode())
        return int(sent[1]) if sent else 0

    def keep(self, name: str, suffix: str, content: bytes) -> str | None:
        """Version a training set under a git tag, `everloop/NAME-HASH`, without touching branch or working tree.

        `dvc get . NAME.parquet --rev TAG` gives it back. Returns the tag; None where nothing is committed yet.
        """
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        tag = TAG.format(name, md5[:8])
        if git.describe(self.folder) is None:
            return None
        if git.run(self.folder, "tag", "--list", tag).strip():
            return tag
        _write(self._cached(md5), content)
        file = f"{name}{suffix}"
        out = {"md5": md5, "size": len(content), "hash": "md5", "path": file}
        pointer = {f"{git.prefix(self.folder)}{file}.dvc": yaml.safe_dump({"outs": [out]}, sort_keys=False)}
        git.tag_files(self.folder, tag, pointer | self._config_file(), f"Training set {name}")
        return tag

    def tag(self, name: str) -> str | None:
        """Return the newest tag of a training set, or None."""
        found = git.run(self.folder, "tag", "--list", "--sort=creatordate", TAG.format(name, "*")).split()
        return found[-1] if found else None

    def _tell_tags_the_remote(self) -> None:
        """Renew the tags that carry an older configuration: DVC pushes a tag's files to the remote named in the tag."""
        config = self._config_file()
        for tag in git.run(self.folder, "tag", "--list", TAG.format("*", "*")).split():
            names = git.run(self.folder, "ls-tree", "-r", "--full-tree", "--name-only", tag).splitlines()
            files = {name: git.run(self.folder, "show", f"{tag}:{name}") for name in names}
            if files | config != files:
                message = git.run(self.folder, "log", "-1", "--format=%s", tag).strip()
                git.tag_files(self.folder, tag, files | config, message, parent=f"{tag}^")

    def _config_file(self) -> dict[str, str]:
        """Return the configuration for a tag; DVC would look for a relative remote from the root of the disk there."""
        config, place, text = configparser.ConfigParser(interpolation=None), self.folder / ".dvc", io.StringIO()
        config.read(place / "config", encoding="utf-8")
        for section in config.sections():
            url = config.get(section, "url", fallback=None)
            if url and "://" not in url:
                config.set(section, "url", str((place / url).resolve()))
        config.write(text)
        return {f"{git.prefix(self.folder)}.dvc/config": text.getvalue()}

    def _cached(self, md5: str) -> Path:
        place = self._config().get("cache", "dir", fallback="cache")
        return self.folder / ".dvc" / place / "files" / "md5" / md5[:2] / md5[2:]

    def _config(self) -> configparser.ConfigParser:
        found = configparser.ConfigParser(interpolation=None)
        found.read([self.folder / ".dvc" / "config", self.folder / ".dvc" / "config.local"], encoding="utf-8")
        return found


def _dvc(folder: Path, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "dvc", *arguments]
    try:
        found = subprocess.run(command, cwd=folder, capture_output=True, check=False, env=os.environ | OFF)
    except OSError as error:
        raise SystemError_(f"dvc {arguments[0]} did not run: {error.strerror}") from error
    if found.returncode:
        raise SystemError_(f"dvc {arguments[0]} failed: {_reason(found.stderr.decode(errors='replace'))}")
    return found.stdout


def _reason(told: str) -> str:
    """Return what DVC complains about, in one line; a missing driver with how to get it."""
    lines = [line.strip().removeprefix("ERROR: ") for line in told.splitlines() if line.strip()]
    errors = [line.strip().removeprefix("ERROR: ") for line in told.splitlines() if line.startswith("ERROR")]
    reason = " ".join((errors or lines[-1:] or ["it said nothing"])[:1])
    for driver in ("s3", "gs"):
        if f"dvc-{driver}" in told:
            reason = f"{reason.partition('.')[0]}: pip install 'everloop[{driver}]'"
    return reason[:400]


def _path(entry: dict[str, Any]) -> str:
    path = entry["path"]
    return str(path["new"] if isinstance(path, dict) else path)


def _write(path: Path, content: bytes) -> None:
    """Write an object of DVC's cache: whole or not at all, and read-only, as DVC does."""
    if path.is_file() and path.stat().st_size == len(content):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.chmod(0o444)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
