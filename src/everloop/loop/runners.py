"""Where the steps of a project's pipelines run, as `[pipelines]` says it."""

from __future__ import annotations

import sys
from pathlib import Path

from everloop import plugins
from everloop.errors import UsageError
from everloop.loop.workspace import Workspace
from everloop.pipelines import Engine
from everloop.pipelines.compilers import Runner, Target
from everloop.pipelines.executors import Executor

__all__ = ["IN_PODS", "executor_of", "runner_of", "target_of"]

IN_PODS = "/project"
"""The project's folder in its image."""


def executor_of(workspace: Workspace) -> Executor:
    """Return what runs single steps: that of this machine where the project's runner has a loop of its own."""
    pipelines = workspace.settings.pipelines
    name = "local" if _is_compiled(pipelines.runner) else pipelines.runner
    made: Executor = plugins.find("everloop.executors", name, "runner")(
        workspace.artifacts, workspace.folder, pipelines.address
    )
    return made


def runner_of(workspace: Workspace, engine: Engine) -> Runner:
    """Return what runs whole pipelines: the engine, or one that hands them to another engine."""
    pipelines = workspace.settings.pipelines
    if not _is_compiled(pipelines.runner):
        return engine
    made: Runner = plugins.find("everloop.runners", pipelines.runner, "runner")(
        engine, workspace.artifacts, target_of(workspace), workspace.name
    )
    return made


def target_of(workspace: Workspace) -> Target:
    """Return where compiled nodes run; raises UsageError where pods could not reach store and artifacts."""
    told = workspace.settings.pipelines
    pods = told.runner == "kubeflow" or bool(told.image and told.runner not in ("tfx", "mlrun"))
    if pods:
        _refuse_what_pods_lack(workspace)
    return Target(
        project=IN_PODS if pods else str(workspace.folder),
        python="python3" if pods else sys.executable,
        address=told.address,
        image=told.image,
        volume=told.volume,
        secrets=told.secrets,
        fuse=told.fuse,
    )


def _is_compiled(runner: str) -> bool:
    return plugins.has("everloop.runners", runner)


def _refuse_what_pods_lack(workspace: Workspace) -> None:
    storage = workspace.settings.storage
    mounted = workspace.settings.pipelines.volume.partition(":")[2]
    places = {"store": storage.store.removeprefix("sqlite:///"), "artifacts": storage.artifacts.removeprefix("file://")}
    for name, place in places.items():
        shared = "://" in place or (mounted and Path(place).is_absolute() and Path(place).is_relative_to(mounted))
        if not shared:
            raise UsageError(
                f"pods cannot reach [storage] {name} = {getattr(storage, name)!r}: name a URL (PostgreSQL, s3://, "
                "gs://), or an absolute path on the volume that [pipelines] volume = 'claim:/path' mounts"
            )
