"""What a push changes: code, data, both or neither, by the names of its files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath

import msgspec

__all__ = ["Changes", "classify"]


class Changes(msgspec.Struct, frozen=True):
    """The files of a push, relative to the project."""

    code: tuple[str, ...]
    data: tuple[str, ...]
    other: tuple[str, ...]


def classify(paths: Iterable[str], source: str, ignore: Sequence[str], prefix: str = "") -> Changes:
    """Sort files of the repository: `prefix` is the project's folder in it, `source` what `[data] source` says.

    Data are `.dvc` pointers, `schema.toml`, and what lies in the folder of the source. Other are files that `ignore`
    matches, and all outside of the project. The rest is code.
    """
    sorted_: dict[str, list[str]] = {"code": [], "data": [], "other": []}
    folder = PurePosixPath(source).parent
    for path in paths:
        inside = path.removeprefix(prefix) if path.startswith(prefix) else None
        if inside is None:
            sorted_["other"].append(path)
        elif inside.endswith(".dvc") or inside == "schema.toml" or _holds(folder, source, inside):
            sorted_["data"].append(inside)
        else:
            kind = "other" if any(fnmatch(inside, pattern) for pattern in ignore) else "code"
            sorted_[kind].append(inside)
    return Changes(*(tuple(sorted(names)) for names in sorted_.values()))


def _holds(folder: PurePosixPath, source: str, path: str) -> bool:
    """Tell whether a file lies in the data folder; where that is the project itself, whether the source matches it."""
    if "://" in source or folder.is_absolute():
        return False
    return PurePosixPath(path).is_relative_to(folder) if folder.parts else fnmatch(path, source)
