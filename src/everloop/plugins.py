"""What others add under a name: entry points, which the built-ins use too."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Literal

from everloop.errors import NotFoundError

__all__ = ["find", "has"]

Group = Literal["everloop.executors", "everloop.runners"]


def find(group: Group, name: str, what: str) -> Any:
    """Return what is registered under a name; raises NotFoundError with the names that are."""
    known = {point.name: point for point in entry_points(group=group)}
    if name not in known:
        raise NotFoundError(what, name, known)
    return known[name].load()


def has(group: Group, name: str) -> bool:
    """Tell whether something is registered under a name."""
    return bool(entry_points(group=group, name=name))
