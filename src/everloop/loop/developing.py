"""What runs the retraining pipeline: the deployed version of it, or the project's code as it stands."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pandas as pd

from everloop import registry
from everloop.bundles import trusted
from everloop.data import Schema, event_times, record
from everloop.evaluation import own_checks
from everloop.journal import end
from everloop.loop.acting import make_ready
from everloop.loop.controller import Developed
from everloop.loop.dataset import quarantine_of, repository
from everloop.loop.inspecting import Inspection
from everloop.loop.parts import reading_of
from everloop.loop.pipeline_versions import Code, code_of
from everloop.loop.records import behind
from everloop.loop.retraining import Ask, Champion, Outcome, Where, bundle_of, ingest, retrain
from everloop.loop.runners import runner_of
from everloop.loop.schemas import check_columns, frozen_schema
from everloop.loop.workspace import Workspace
from everloop.monitoring import DriftRules
from everloop.pipelines import Artifact, Engine, IsolatedExecutor, Progress, fingerprint
from everloop.pipelines.executors import Executor
from everloop.settings import Settings, changed, seconds
from everloop.training import forget_modules
from everloop.training.guards import Policies
from everloop.types import as_json

__all__ = ["Prepared", "ask_of", "developer", "prepare_retraining"]

Report = Callable[[Progress], None]


class Prepared(NamedTuple):
    """The arguments of a retraining whose data is versioned, and what its bundle will name."""

    arguments: dict[str, Any]
    schema: Schema
    data_version: str
    inspection: Inspection


def developer(
    workspace: Workspace, report: Report, executor: Executor
) -> Callable[[str, float, Mapping[str, Any]], Developed]:
    """Return what runs the retraining pipeline: the run of an id goes on where it was killed.

    Its third argument is what was asked of it: another pipeline `version` than the deployed one, settings to `set`,
    code to deploy and data to bring in before (`make_ready`).
    """

    def develop(run: str, decided: float, asked: Mapping[str, Any]) -> Developed:
        asked = make_ready(workspace, run, asked)
        with workspace.store.read() as connection:
            why = behind(connection, run)
        code = code_of(workspace, asked.get("version"))
        settings = changed(code.settings, asked.get("set", {}))
        forget_modules(workspace.folder)
        with _executor(workspace, code, executor) as used:
            engine = Engine(
                workspace.store, workspace.artifacts, used, code.folder, lambda: decided, environment=code.environment
            )
            recalibrated = bool(asked.get("recalibrated"))
            ready = prepare_retraining(workspace, engine, code, settings, run, decided, report, recalibrated, why)
            runner = runner_of(workspace, engine)
            ran = runner.run(retrain, ready.arguments, run_id=run, commit=code.commit, on_progress=report, **why)
        done, folder = Outcome(**ran.outputs), workspace.bundles / run
        told = {"name": workspace.name, "run": run, "data_version": ready.data_version, "commit": code.commit}
        sha256 = bundle_of(done, ready.schema, folder, workspace.key, created=decided, **told)
        inside = folder.is_relative_to(workspace.folder)
        return Developed(
            run=run,
            bundle=str(folder.relative_to(workspace.folder) if inside else folder),
            sha256=sha256,
            data_version=ready.data_version,
            commit=code.commit,
            window=as_json(done.choice),
            metrics=done.metrics,
            verdict=done.verdict,
            baseline=tuple(done.baseline),
            inspection=as_json(ready.inspection) | {"told": ready.inspection.told},
        )

    return develop


def prepare_retraining(
    workspace: Workspace,
    engine: Engine,
    code: Code,
    settings: Settings,
    run: str,
    decided: float,
    report: Report = lambda _: None,
    recalibrated: bool = False,
    why: Mapping[str, str | None] = {},
) -> Prepared:
    """Collect the rows, make them a data version, and return what the retraining pipeline is called with.

    `why` names the decision and the event behind it.
    """
    (champion, bundle), schema = _champion(workspace), frozen_schema(workspace)
    where = _where(workspace, settings, code, decided)
    data = engine.run(
        ingest,
        {
            "where": where,
            "schema": schema,
            "checks": settings.data.checks,
            "horizon": seconds(settings.training.horizon),
        },
        run_id=f"{run}-data",
        commit=code.commit,
        on_progress=report,
        **why,
    )
    rows, frozen = data.outputs["rows"], data.outputs["schema"]
    check_columns(workspace, frozen)
    version = _record(workspace, data.artifacts["rows"], rows, frozen, decided)
    arguments = {
        "rows": data.artifacts["rows"],
        "schema": frozen,
        "ask": _ask_of(settings, code.folder, frozen, first=champion is None, recalibrated=recalibrated),
        "champion": champion,
        "bundle": bundle,
        "policies": Policies(**as_json(settings.guards)),
    }
    return Prepared(arguments, frozen, version, data.outputs["inspection"])


def ask_of(settings: Settings, folder: Path, *, first: bool) -> Ask:
    """Return what a project file asks to be trained; its code lies in `folder`."""
    training, allowed = settings.training, settings.serving.native
    return Ask(
        model=training.model,
        parameters=training.parameters,
        window=training.window,
        first=first,
        seed=training.seed,
        horizon=seconds(training.horizon),
        block=seconds(settings.monitoring.block),
        gates=settings.gates,
        code=_code_of(settings, folder),
        runtime=training.runtime,
        native=list(allowed) if allowed is not None else None,
        gap=seconds(training.gap),
        augment=training.augment,
        sensitive=settings.deployment.sensitive,
    )


def _code_of(settings: Settings, folder: Path) -> dict[str, str]:
    """Return the fingerprints of the code behind the estimator and the project's own checks."""
    named = (settings.training.model, *own_checks(settings.gates))
    return {name: told for one in named for name, told in fingerprint(one, folder).items()}


def _ask_of(settings: Settings, folder: Path, schema: Schema, *, first: bool, recalibrated: bool) -> Ask:
    ask = ask_of(settings, folder, first=first)
    if not recalibrated:
        return ask
    rules = DriftRules(schema.task, ask.block, bounds=settings.recalibration.bounds)
    return msgspec.structs.replace(ask, level=rules.level)


@contextlib.contextmanager
def _executor(workspace: Workspace, code: Code, executor: Executor) -> Iterator[Executor]:
    """Give the executor, or one of the version's own Python for as long as it takes."""
    if code.python is None:
        yield executor
        return
    with contextlib.closing(IsolatedExecutor(workspace.artifacts, python=code.python)) as own:
        yield own


def _where(workspace: Workspace, settings: Settings, code: Code, decided: float) -> Where:
    data = settings.data
    return Where(
        folder=str(workspace.folder),
        source=data.source,
        reading=reading_of(settings, code.folder),
        journal=str(workspace.journal),
        until=decided,
        journal_end=end(workspace.journal),
        checks=data.checks,
        max_rows=settings.training.max_rows,
        quarantine=str(quarantine_of(workspace)),
    )


def _champion(workspace: Workspace) -> tuple[Champion, Path] | tuple[None, None]:
    """Return whom to beat, and its bundle."""
    with workspace.store.read() as connection:
        version = registry.alias(connection, workspace.name, "champion")
        if version is None:
            return None, None
        row = registry.get(connection, workspace.name, version)
    keys = [key.text for key in trusted(workspace.keys)]
    return Champion(version, keys, float(row["window"]["until"])), workspace.path(row["bundle"])


def _record(workspace: Workspace, artifact: Artifact, rows: pd.DataFrame, schema: Schema, time: float) -> str:
    """Make the training table a data version, in the store and with DVC, before anything is trained on it."""
    times = event_times(rows, schema.time)
    with workspace.store.begin() as connection:
        version = record(
            connection,
            artifact=artifact.id,
            rows=len(rows),
            start=float(times[0]),
            end=float(times[-1]),
            origin=workspace.settings.data.source,
            time=time,
        )
    if known := repository(workspace):
        known.keep(version, ".parquet", workspace.artifacts.read(artifact))
    return version
