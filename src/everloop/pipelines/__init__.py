"""Pipelines over normal functions: steps, their graph, a content cache, runs that resume, lineage.

Names are imported when they are asked for: a process that only defines or runs steps never loads SQL.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from everloop.pipelines.step import Pipeline, Step, each, pipeline, step

if TYPE_CHECKING:
    from everloop.pipelines.artifacts import Artifact, ArtifactStore
    from everloop.pipelines.declared import Environment, Query, Resources
    from everloop.pipelines.engine import Engine, Execution, Progress, Run
    from everloop.pipelines.executors.isolated import IsolatedExecutor
    from everloop.pipelines.executors.local import LocalExecutor
    from everloop.pipelines.executors.running import project_folder
    from everloop.pipelines.explained import Explained, explain
    from everloop.pipelines.fingerprints import fingerprint
    from everloop.pipelines.lineage import Made, downstream, upstream
    from everloop.pipelines.repeating import Repeated, arguments_of_run, repeat_step

__all__ = [
    "Artifact",
    "ArtifactStore",
    "Engine",
    "Environment",
    "Execution",
    "Explained",
    "IsolatedExecutor",
    "LocalExecutor",
    "Made",
    "Pipeline",
    "Progress",
    "Query",
    "Repeated",
    "Resources",
    "Run",
    "Step",
    "arguments_of_run",
    "downstream",
    "each",
    "explain",
    "fingerprint",
    "pipeline",
    "project_folder",
    "repeat_step",
    "step",
    "upstream",
]

_PLACES = {
    "Artifact": "artifacts",
    "ArtifactStore": "artifacts",
    "Engine": "engine",
    "Environment": "declared",
    "Execution": "engine",
    "Explained": "explained",
    "IsolatedExecutor": "executors.isolated",
    "LocalExecutor": "executors.local",
    "Made": "lineage",
    "Progress": "engine",
    "Query": "declared",
    "Repeated": "repeating",
    "Resources": "declared",
    "Run": "engine",
    "arguments_of_run": "repeating",
    "downstream": "lineage",
    "explain": "explained",
    "fingerprint": "fingerprints",
    "project_folder": "executors.running",
    "repeat_step": "repeating",
    "upstream": "lineage",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value
