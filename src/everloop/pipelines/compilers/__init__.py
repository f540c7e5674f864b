"""Hands the graph to an engine that owns its own loop: each node there calls our entry point, in that engine's order.

What travels between nodes is the run's id; values, cache and lineage are in the store and the artifacts, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from everloop.pipelines.engine import Progress, Run
from everloop.pipelines.step import Pipeline

__all__ = ["Runner", "Target"]


class Target(msgspec.Struct, frozen=True):
    """Where compiled nodes run, as `[pipelines]` says it: `project` and `python` are the folder and Python there."""

    project: str
    python: str = "python"
    address: str = ""
    image: str = ""
    volume: str = ""
    """A claim and where it is mounted: `claim:/path`."""
    secrets: tuple[str, ...] = ()
    """Environment variables from secrets: `secret:key=NAME`."""
    fuse: bool = True


class Runner(Protocol):
    """Runs a pipeline somewhere, and returns what it came to as the engine does."""

    def run(
        self,
        pipeline: Pipeline[..., Any],
        arguments: Mapping[str, Any],
        *,
        run_id: str | None = None,
        event: str | None = None,
        decision: str | None = None,
        commit: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Run:
        """Run a pipeline, or go on with the run of that id."""
