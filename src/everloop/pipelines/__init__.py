"""Pipelines over normal functions: steps, their graph, a content cache, runs that resume, lineage."""

from __future__ import annotations

from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.declared import Environment, Query, Resources
from everloop.pipelines.engine import Engine, Execution, Progress, Run
from everloop.pipelines.executors.isolated import IsolatedExecutor
from everloop.pipelines.executors.local import LocalExecutor
from everloop.pipelines.executors.running import project_folder
from everloop.pipelines.explained import Explained, explain
from everloop.pipelines.fingerprint import fingerprint
from everloop.pipelines.lineage import Made, downstream, upstream
from everloop.pipelines.repeating import Repeated, repeat_step
from everloop.pipelines.step import Pipeline, Step, each, pipeline, step

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
