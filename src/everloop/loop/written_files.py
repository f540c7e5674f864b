"""Several files written into a folder: all of them, each whole, or none because one of their places cannot hold it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from everloop.errors import UsageError

__all__ = ["write_texts"]


def write_texts(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts by their paths in a folder; raises UsageError, with nothing written, for a place that is taken."""
    for name in files:
        path = folder / name
        if path.is_dir():
            raise UsageError(f"{path} is a folder, and a file belongs there: move it away; nothing was written")
        if above := next((p for p in path.parents if p.exists() and not p.is_dir()), None):
            raise UsageError(f"{above} is a file, and a folder belongs there: move it away; nothing was written")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
