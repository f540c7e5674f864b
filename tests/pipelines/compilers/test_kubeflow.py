"""Kubeflow Pipelines: what is compiled says what was declared, and worked off it gives what the engine gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from tests.kubeflow import IR, kubeflow
from tests.pipelines.entry_project import everything

from everloop import store as tables
from everloop.errors import StepError, SystemError_, UsageError
from everloop.pipelines import ArtifactStore, Engine, Progress, Resources, pipeline, step
from everloop.pipelines.compilers import Target
from everloop.pipelines.compilers.kubeflow import RUN, compile_pipeline
from everloop.pipelines.compilers.kubeflow_runs import KubeflowRunner
from everloop.store import Store


@step(resources=Resources(cpu=2, memory="1.5GB", gpu=1), retries=3, backoff="10s", timeout="20m")
def heavy(number: int) -> int:
    return number


@step
def left(number: int) -> int:
    return number + 1


@step
def fails(number: int) -> int:
    raise ValueError(f"{number} is wrong")


@pipeline
def fan(number: int) -> int:
    left(number)
    return heavy(number)


@pipeline
def failing(number: int) -> int:
    return fails(left(number))


def replace(target: Target, **changes: object) -> Target:
    return Target(**{name: getattr(target, name) for name in target.__struct_fields__} | changes)


def test_declared_needs_stand_in_the_ir(artifacts: ArtifactStore, target: Target, tmp_path: Path) -> None:
    equipped = replace(target, volume="models:/mnt/models", secrets=("store:password=PGPASSWORD",))
    compile_pipeline(fan, {"number": 3}, artifacts, equipped, tmp_path / "fan.yaml")
    ir = IR((tmp_path / "fan.yaml").read_text())
    assert ir.spec["root"]["inputDefinitions"]["parameters"]["number"]["defaultValue"] == "3"
    container = ir.spec["deploymentSpec"]["executors"]["exec-heavy"]["container"]
    assert container["image"] == "project:1"
    assert container["command"] == [sys.executable, "-m", "everloop.pipelines.entry"]
    resources = container["resources"]
    assert resources["resourceCpuLimit"] == resources["resourceCpuRequest"] == "2"
    assert resources["resourceMemoryLimit"] == "1500M"
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "1"
    tasks = ir.spec["root"]["dag"]["tasks"]
    assert tasks["heavy"]["retryPolicy"]["maxRetryCount"] == 3
    assert tasks["heavy"]["retryPolicy"]["backoffDuration"] == "10s"
    assert {name: task["cachingOptions"] for name, task in tasks.items()} == {name: {} for name in tasks}  # ours is on
    assert tasks["finish"]["dependentTasks"] == ["heavy", "left"]
    executors = ir.platform["deploymentSpec"]["executors"]
    assert executors["exec-heavy"]["activeDeadlineSeconds"] == "1200" or executors["exec-heavy"]["timeout"]
    for executor in executors.values():
        (mount,) = executor["pvcMount"]
        assert (mount["constant"], mount["mountPath"]) == ("models", "/mnt/models")
        (secret,) = executor["secretAsEnv"]
        assert secret["keyToEnv"] == [{"envVar": "PGPASSWORD", "secretKey": "password"}]


def test_an_incomplete_target_is_refused(
    artifacts: ArtifactStore, target: Target, engine: Engine, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"set \[pipelines\] image"):
        compile_pipeline(fan, {"number": 3}, artifacts, replace(target, image=""), tmp_path / "fan.yaml")
    with pytest.raises(UsageError, match="write 'secret:key=VARIABLE'"):
        compile_pipeline(fan, {"number": 3}, artifacts, replace(target, secrets=("a",)), tmp_path / "fan.yaml")
    with pytest.raises(UsageError, match=r"set \[pipelines\] address"):
        KubeflowRunner(engine, artifacts, target, "p")
    with pytest.raises(SystemError_, match=r"Kubeflow Pipelines at http://127\.0\.0\.1:1 does not answer"):
        KubeflowRunner(engine, artifacts, replace(target, address="http://127.0.0.1:1"), "p").run(fan, {"number": 1})


@pytest.mark.parametrize("fuse", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_loops_and_branches_give_what_the_engine_gives(
    fuse: bool, artifacts: ArtifactStore, target: Target, engine: Engine, project: Path
) -> None:
    given = {"count": 2 if fuse else 1, "greeting": artifacts.put(project / "hello.txt")}
    compile_pipeline(everything, given, artifacts, replace(target, fuse=fuse), project / "e.yaml")
    ir = IR((project / "e.yaml").read_text())
    ir.run({}, job="job-1")
    assert ir.pods.count("exec-square-element") == given["count"]
    assert engine.outcome(everything, given, run_id="job-1").value == engine.run(everything, given).value


@pytest.mark.slow
def test_the_client_uploads_runs_and_waits(
    artifacts: ArtifactStore, target: Target, engine: Engine, store: Store,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    told: list[Progress] = []
    given = {"number": 3}
    with kubeflow() as api:
        runner = KubeflowRunner(engine, artifacts, replace(target, address=api.address), "bikes", lambda _: None)
        run = runner.run(fan, given, run_id="r1", commit="c1", on_progress=told.append)
        assert (run.value, run.id) == (3, "r1")
        assert {progress.step for progress in told} == {"heavy", "left"}
        assert [(r["display_name"], r["state"]) for r in api.runs.values()] == [("r1", "SUCCEEDED")]
        assert [e["display_name"] for e in api.experiments.values()] == ["bikes"]
        runner.run(fan, given, run_id="r1")
        assert len(api.runs) == 1  # it is finished
        runner.run(fan, {"number": 4}, run_id="r2")
        assert (len(api.runs), len(api.pipelines)) == (2, 1)
        assert len(api.versions) == 2  # the upload's own, and the one by its content: no third for other arguments
        recurring = runner.recur(fan, given, "nightly", "0 0 3 * * *")
        (kept,) = api.recurring.values()
        assert (kept["recurring_run_id"], kept["trigger"]["cron_schedule"]["cron"]) == (recurring, "0 0 3 * * *")
        assert kept["runtime_config"]["parameters"] == {RUN: "", "number": "3"}
        with pytest.raises(StepError, match=r"step 'fails' failed: .*ValueError: 4 is wrong"):
            runner.run(failing, given, run_id="r3")
    assert capsys.readouterr().out == ""
    rows = store.rows(sa.select(tables.run.c.id, tables.run.c.status))
    assert {row["id"]: row["status"] for row in rows} == {"r1": "finished", "r2": "finished", "r3": "failed"}


@pytest.mark.slow
def test_it_waits_for_a_run_that_is_under_way_there(
    artifacts: ArtifactStore, target: Target, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kubeflow() as api:
        runner = KubeflowRunner(engine, artifacts, replace(target, address=api.address), "p", lambda _: None)
        looked: list[str] = []

        def killed(there: str, *_: object) -> str:
            looked.append(there)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(runner, "_wait", killed)
            with pytest.raises(KeyboardInterrupt):
                runner.run(fan, {"number": 5}, run_id="r1")
        assert runner.run(fan, {"number": 5}, run_id="r1").value == 5
        assert len(api.runs) == 1


def test_the_ir_is_valid_yaml_of_two_documents(artifacts: ArtifactStore, target: Target, tmp_path: Path) -> None:
    from kfp import components

    compile_pipeline(fan, {"number": 3}, artifacts, replace(target, volume="c:/m"), tmp_path / "fan.yaml")
    assert len(list(yaml.safe_load_all((tmp_path / "fan.yaml").read_text()))) == 2
    loaded = components.load_component_from_file(str(tmp_path / "fan.yaml"))
    assert set(loaded.component_spec.inputs) == {RUN, "number"}
