"""What settings are written in: durations, sizes and places."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["place", "seconds", "size"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(text: str) -> float:
    """Return the seconds of a duration such as `5ms`, `90s`, `20m`, `1.5h`, `3d` or `2w`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*", text)
    if not match:
        raise ValueError(f"{text!r} is no duration: write a number and ms, s, m, h, d or w, such as '3d'")
    return float(match[1]) * _UNITS[match[2]]


def size(text: str) -> int:
    """Return the bytes of a size such as `500kB`, `16MB` or `1GB` (powers of ten)."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMG]?)B\s*", text)
    if not match:
        raise ValueError(f"{text!r} is no size: write a number and B, kB, MB or GB, such as '16MB'")
    return int(float(match[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[match[2]])


def place(folder: Path, name: str) -> Path:
    """Return the absolute path of a place that the project file in `folder` names."""
    return folder.resolve() / name.removeprefix("file://")
