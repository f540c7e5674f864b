"""`everloop pipeline`: versions of the retraining pipeline; pipelines of one's own, here or compiled for elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["pipeline"]

pipeline = typer.Typer(name="pipeline", help="Versions of pipelines, and where they run.", no_args_is_help=True)

Project = Annotated[Path, typer.Option(help="The project's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of an argument; may be said several times.")]
Reference = Annotated[str | None, typer.Argument(help="'module:pipeline' of the project. Default: the retraining.")]


@pipeline.callback()
def group() -> None:
    """Versions of pipelines, and where they run."""


@pipeline.command()
def build(
    ref: Annotated[str, typer.Argument(help="The commit.")] = "HEAD",
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Freeze changes that no commit holds too.")
    ] = False,
    deploy: Annotated[bool, typer.Option("--deploy", help="Test it, then let data and drift run it.")] = False,
    project: Project = Path("."),
    json: Json = False,
) -> None:
    """Freeze a commit and its packages as a version."""
    from everloop.loop.pipeline_versions import build_version, deploy_version, test_version

    with _opened(project) as workspace:
        row = build_version(workspace, ref, allow_dirty=allow_dirty)
        tests = None
        if deploy:
            tests = test_version(workspace, row["id"])
            deploy_version(workspace, row["id"])
    told = {"id": row["id"], "commit": row["commit"], "dirty": bool(row["dirty"]), "tests": tests, "deployed": deploy}
    _tell(told, json)


@pipeline.command(name="deploy")
def deploy_(
    version: Annotated[str, typer.Argument(help="Such as pipeline-2.")],
    no_test: Annotated[bool, typer.Option("--no-test", help="Do not run its tests first.")] = False,
    project: Project = Path("."),
    json: Json = False,
) -> None:
    """Test a version, then let data, drift and `everloop run` use it."""
    from everloop.loop.pipeline_versions import deploy_version, test_version

    with _opened(project) as workspace:
        tests = "not run" if no_test else test_version(workspace, version)
        deploy_version(workspace, version)
    _tell({"id": version, "tests": tests, "deployed": True}, json)


@pipeline.command(name="list")
def list_(project: Project = Path("."), json: Json = False) -> None:
    """Show the versions, newest first."""
    from everloop.cli.output import show_json, show_table
    from everloop.loop.pipeline_versions import versions
    from everloop.types import show_time

    with _opened(project) as workspace:
        rows = [
            {
                "id": row["id"],
                "commit": row["commit"][:12] + ("-dirty" if row["dirty"] else ""),
                "packages": "its own" if row["python"] else "the running ones",
                "tested": row["tested"] and show_time(row["tested"]),
                "deployed": row["deployed"] and show_time(row["deployed"]),
                "active": row["active"],
            }
            for row in versions(workspace)
        ]
    if json:
        show_json(rows)
    elif rows:
        show_table("Pipeline versions", rows)
    else:
        print("there is none: the project's code runs as it stands (`everloop pipeline build` freezes it)")


@pipeline.command()
def run(
    reference: Annotated[str, typer.Argument(help="'module:pipeline' of the project.")],
    set: Set = None,
    run: Annotated[str | None, typer.Option(help="Go on with the run of this id.")] = None,
    project: Project = Path("."),
    json: Json = False,
) -> None:
    """Run a pipeline of the project's own, where the project file's runner says."""
    from everloop.cli.output import Bar
    from everloop.loop.own_pipelines import run_own

    with _opened(project) as workspace, Bar() as bar:
        bar.part(reference)
        found = run_own(workspace, reference, _values(set), run, lambda progress: bar.part(progress.step))
    steps = {execution.step: execution.status for execution in found.executions}
    _tell({"run": found.id, "outputs": {n: _shown(v) for n, v in found.outputs.items()}, "steps": steps}, json)


@pipeline.command(name="compile")
def compile_(
    out: Annotated[Path, typer.Option(help="The file.")],
    reference: Reference = None,
    set: Set = None,
    project: Project = Path("."),
    json: Json = False,
) -> None:
    """Write Kubeflow Pipelines' IR YAML; for the retraining its data is collected and versioned first."""
    from everloop.loop.own_pipelines import compile_own

    with _opened(project) as workspace:
        compile_own(workspace, reference, _values(set), out)
    _tell({"file": str(out)}, json)


@pipeline.command()
def schedule(
    reference: Annotated[str, typer.Argument(help="'module:pipeline' of the project.")],
    cron: Annotated[str, typer.Option(help="Six fields, seconds first: '0 0 3 * * *' is each night at three.")],
    set: Set = None,
    project: Project = Path("."),
    json: Json = False,
) -> None:
    """Let Kubeflow Pipelines run a pipeline of the project's own again and again."""
    from everloop.loop.own_pipelines import schedule_own

    with _opened(project) as workspace:
        id = schedule_own(workspace, reference, _values(set), cron)
    _tell({"recurring_run": id, "cron": cron}, json)


def _opened(project: Path) -> Any:
    from everloop.loop.workspace import opened

    return opened(project)


def _values(texts: list[str] | None) -> dict[str, Any]:
    from everloop.cli.asked import values_of

    return values_of(texts)


def _shown(value: Any) -> Any:
    """Return a value as JSON says it, else what Python does, short."""
    if isinstance(value, str | int | float | bool | None):
        return value
    told = repr(value)
    return told if len(told) <= 2000 else f"{told[:2000]}... ({len(told):,} characters)"


def _tell(told: dict[str, Any], json: bool) -> None:
    from everloop.cli.output import show_json, show_record

    if json:
        show_json(told)
    else:
        show_record(told)
