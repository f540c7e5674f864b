"""`manifest.json`: what a bundle holds, where it comes from, and the hash of every file."""

from __future__ import annotations

from typing import Any

import msgspec

from everloop.types import Column, Task

__all__ = ["Manifest"]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The signed description of a bundle; `files` maps each relative path to its SHA-256."""

    format: int = 1
    name: str
    task: Task
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    classes: tuple[str | int | float | bool, ...] = ()
    run: str
    data_version: str
    commit: str | None = None
    window: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    created: float
    files: dict[str, str] = {}
