"""The same pipeline under TFX and MLRun, each for real, in an environment of its own."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.pipelines.compilers.test_kubeflow import failing
from tests.pipelines.entry_project import everything

from everloop.errors import StepError
from everloop.pipelines import ArtifactStore, Engine
from everloop.pipelines.compilers import Target
from everloop.pipelines.compilers.local_runs import mlrun_runner, tfx_runner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_tfx_runs_the_steps_and_keeps_its_own_lineage(
    engine: Engine, artifacts: ArtifactStore, target: Target, project: Path
) -> None:
    runner = tfx_runner(engine, artifacts, target, "p")
    given = {"count": 4, "greeting": artifacts.put(project / "hello.txt")}
    run = runner.run(everything, given, run_id="r1")
    assert run.value == engine.run(everything, given, run_id="r2").value == "hello 14 7"
    with closing(sqlite3.connect(project / ".everloop" / "tfx" / "metadata.db")) as store:
        executions = store.execute("select count(*) from Execution").fetchone()[0]
        assert executions == 5
        read, written = (store.execute(f"select count(*) from Event where type = {n}").fetchone()[0] for n in (3, 4))
        assert (read, written) == (5, 5)  # numbers -> square -> add -> halve, tell; halve -> tell
        names = {row[0] for row in store.execute("select distinct name from ArtifactProperty where is_custom_property")}
        assert {"tell.return", "add.return", "everloop_run"} <= names
    with pytest.raises(StepError, match="step 'fails' failed: ValueError: 4 is wrong"):
        runner.run(failing, {"number": 3}, run_id="r3")


def test_mlrun_runs_the_steps_and_logs_results_and_artifacts(
    engine: Engine, artifacts: ArtifactStore, target: Target, project: Path
) -> None:
    runner = mlrun_runner(engine, artifacts, target, "p")
    given = {"count": 3, "greeting": artifacts.put(project / "hello.txt")}
    run = runner.run(everything, given, run_id="r1")
    assert run.value == "hello 5 None"
    kept = json.loads((project / ".everloop" / "mlrun" / "r1.json").read_text())
    assert [one["metadata"]["name"] for one in kept] == ["numbers", "square", "add", "halve", "tell"]
    assert {one["status"]["state"] for one in kept} == {"completed"}
    assert kept[-1]["status"]["results"]["tell.return"] == run.artifacts["return"].id
    assert kept[-1]["status"]["artifact_uris"]["outputs"] or kept[-1]["status"]["artifacts"]
    assert len(list((project / ".everloop" / "mlrun" / "artifacts").rglob("*.json"))) == len(kept)
    assert not Path("numbers").exists()  # nothing in the folder that it was started from
    with pytest.raises(StepError, match="step 'fails' failed: ValueError: 4 is wrong"):
        runner.run(failing, {"number": 3}, run_id="r3")
