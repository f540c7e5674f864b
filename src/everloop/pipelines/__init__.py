"""Pipelines over normal functions: steps, their graph, a content cache, runs that resume, lineage."""

from __future__ import annotations

from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.engine import Engine, Execution, Progress, Run
from everloop.pipelines.executors.isolated import IsolatedExecutor
from everloop.pipelines.executors.local import LocalExecutor
from everloop.pipelines.explained import Explained, explain
from everloop.pipelines.fingerprint import fingerprint
from everloop.pipelines.lineage import Made, downstream, upstream
from everloop.pipelines.repeating import Repeated, repeat_step
from everloop.pipelines.step import Pipeline, Step, each, pipeline, step

__all__ = [
    "Artifact",
    "ArtifactStore",
    "Engine",
    "Execution",
    "Explained",
    "IsolatedExecutor",
    "LocalExecutor",
    "Made",
    "Pipeline",
    "Progress",
    "Repeated",
    "Run",
    "Step",
    "downstream",
    "each",
    "explain",
    "fingerprint",
    "pipeline",
    "repeat_step",
    "step",
    "upstream",
]
