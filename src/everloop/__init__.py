"""Everloop keeps machine-learning models right in production."""

from __future__ import annotations

from typing import Any

__all__ = ["Project"]


def __getattr__(name: str) -> Any:
    """Import `Project` when a user asks for it: serving and the command line start without it."""
    if name != "Project":
        raise AttributeError(f"module 'everloop' has no attribute {name!r}")
    import importlib

    return importlib.import_module(f"{__name__}.project").Project  # a name put together: no step depends on it
