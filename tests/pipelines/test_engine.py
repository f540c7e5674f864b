from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from everloop import store as tables
from everloop.errors import DataError, StepError, UsageError
from everloop.pipelines import Artifact, ArtifactStore, Engine, Progress, pipeline, step
from everloop.store import Store


class Split(NamedTuple):
    train: pd.DataFrame
    test: pd.DataFrame


class Fitted(msgspec.Struct, frozen=True):
    mean: float
    rows: int


@step
def ingest(rides: pd.DataFrame, share: float) -> Split:
    cut = int(len(rides) * share)
    return Split(rides.iloc[:cut], rides.iloc[cut:])


@step
def fit(rides: pd.DataFrame) -> Fitted:
    return Fitted(rides["cnt"].mean(), len(rides))


@step
def bundle(fitted: Fitted) -> Path:
    folder = Path(os.environ["EVERLOOP_TEST_FOLDER"]) / "bundle"
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_bytes(msgspec.json.encode(fitted))
    return folder


@step
def score(bundle: Path, test: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
    fitted = msgspec.json.decode((bundle / "model.json").read_bytes(), type=Fitted)
    return {"errors": test["cnt"].to_numpy() - fitted.mean}


class Retrained(NamedTuple):
    bundle: Path
    errors: dict[str, np.ndarray[Any, Any]]
    name: str


@pipeline
def retrain(rides: pd.DataFrame, share: float = 0.5) -> Retrained:
    parts = ingest(rides, share)
    made = bundle(fit(parts.train))
    return Retrained(made, score(made, parts.test), "bike")


@pytest.fixture
def rides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setenv("EVERLOOP_TEST_FOLDER", str(tmp_path))
    return pd.DataFrame({"cnt": [1.0, 3.0, 5.0, 6.0]})


def rows(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    return store.rows(sa.select(table).order_by(*table.primary_key.columns))


def test_frames_structs_folders_and_arrays_pass_from_step_to_step(engine: Engine, rides: pd.DataFrame) -> None:
    run = engine.run(retrain, {"rides": rides})
    assert run.outputs["name"] == "bike"
    assert msgspec.json.decode((run.outputs["bundle"] / "model.json").read_bytes()) == {"mean": 2.0, "rows": 2}
    np.testing.assert_array_equal(run.outputs["errors"]["errors"], [3.0, 4.0])
    assert run.artifacts.keys() == {"bundle", "errors"}
    assert run.artifacts["errors"] == run.executions[-1].outputs["return"]


def test_a_run_leaves_its_rows(engine: Engine, store: Store, rides: pd.DataFrame) -> None:
    run = engine.run(retrain, {"rides": rides}, run_id="run-1", event="e-1", decision="d-1", commit="abc")
    (row,) = rows(store, tables.run)
    given = row["parameters"].pop("rides")
    assert row == {
        "id": "run-1", "pipeline": "retrain", "status": "finished", "parameters": {"share": 0.5}, "started": 1.0,
        "finished": 10.0, "event": "e-1", "decision": "d-1", "commit": "abc", "error": None,
    }  # fmt: skip
    executions = rows(store, tables.execution)
    assert [(e["step"], e["status"], e["started"], e["finished"]) for e in executions] == [
        ("ingest", "finished", 2.0, 3.0), ("fit", "finished", 4.0, 5.0),
        ("bundle", "finished", 6.0, 7.0), ("score", "finished", 8.0, 9.0),
    ]  # fmt: skip
    links = [(k["execution"], k["direction"], k["name"], k["artifact"]) for k in rows(store, tables.link)]
    assert [link[:3] for link in links] == [
        (1, "input", "rides"), (1, "output", "train"), (1, "output", "test"), (2, "input", "rides"),
        (2, "output", "return"), (3, "input", "fitted"), (3, "output", "return"), (4, "input", "bundle"),
        (4, "input", "test"), (4, "output", "return"),
    ]  # fmt: skip
    assert links[0][3] == given["artifact"]
    assert links[4][3] == run.executions[1].outputs["return"].id
    assert {a["id"]: a["format"] for a in rows(store, tables.artifact)}[links[6][3]] == "folder"


def test_progress_is_told_as_it_is_made(engine: Engine, rides: pd.DataFrame) -> None:
    told: list[Progress] = []
    engine.run(retrain, {"rides": rides}, on_progress=told.append)
    assert [(p.step, p.status, p.index, p.total) for p in told[:4]] == [
        ("ingest", "running", 1, 4), ("ingest", "ran", 1, 4), ("fit", "running", 2, 4), ("fit", "ran", 2, 4),
    ]  # fmt: skip
    engine.run(retrain, {"rides": rides}, on_progress=told.append)
    assert told[-1] == Progress("score", "cached", 4, 4)


def test_a_finished_run_gives_its_outputs_again(engine: Engine, store: Store, rides: pd.DataFrame) -> None:
    first = engine.run(retrain, {"rides": rides}, run_id="run-1")
    before = [rows(store, table) for table in (tables.run, tables.execution, tables.link)]
    again = engine.run(retrain, {"rides": rides}, run_id="run-1")
    assert [e.status for e in again.executions] == ["kept"] * 4
    assert again.artifacts == first.artifacts
    assert [rows(store, table) for table in (tables.run, tables.execution, tables.link)] == before


def test_a_run_id_belongs_to_its_pipeline_and_arguments(engine: Engine, rides: pd.DataFrame) -> None:
    engine.run(retrain, {"rides": rides}, run_id="run-1")
    with pytest.raises(UsageError, match="run run-1 was started with other arguments: use the same ones, or another"):
        engine.run(retrain, {"rides": rides, "share": 0.25}, run_id="run-1")
    with pytest.raises(UsageError, match="run run-1 is one of pipeline 'retrain': take another run id"):
        engine.run(flaky, {"place": "."}, run_id="run-1")


@step
def count(place: str, name: str) -> int:
    path = Path(place) / name
    path.write_text(f"{path.read_text() if path.exists() else ''}x")
    return len(path.read_text())


@step
def check(place: str, counted: int) -> int:
    if not (Path(place) / "good").exists():
        raise DataError("rides.csv: column 'cnt' is empty: fill it")
    return counted


@pipeline
def flaky(place: str) -> int:
    return check(place, count(place, "count"))


def test_a_failed_step_names_itself_and_the_run_goes_on_from_there(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    arguments = {"place": str(tmp_path)}
    with pytest.raises(StepError) as caught:
        engine.run(flaky, arguments, run_id="run-1")
    reason = "rides.csv: column 'cnt' is empty: fill it"
    assert str(caught.value).startswith(f"step 'check' failed: {reason}; finished steps of run run-1 are kept")
    assert isinstance(caught.value.__cause__, DataError)
    assert [(r["status"], r["error"]) for r in rows(store, tables.run)] == [("failed", reason)]
    execution = rows(store, tables.execution)[1]
    assert execution["status"] == "failed"
    assert "in check\n    raise DataError(" in execution["error"]
    (tmp_path / "good").touch()
    run = engine.run(flaky, arguments, run_id="run-1")
    assert [e.status for e in run.executions] == ["kept", "ran"]
    assert (tmp_path / "count").read_text() == "x"
    assert [(r["status"], r["error"]) for r in rows(store, tables.run)] == [("finished", None)]


@step
def give(what: str) -> Any:
    return {"object": object(), "number": 1.0}[what]


@step
def wrong(value: float) -> Split:
    return value  # type: ignore[return-value]


@pipeline
def giving(what: str) -> Any:
    return wrong(give(what))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("object", "step 'give' failed: its result is a object cannot be stored .* return a DataFrame"),
        ("number", "step 'wrong' failed: its result is a float and no Split: correct its annotation"),
        ("other", "step 'give' failed: KeyError: 'other'"),
    ],
)
def test_a_result_that_cannot_be_stored_names_step_and_fix(what: str, message: str, engine: Engine) -> None:
    with pytest.raises(StepError, match=message):
        engine.run(giving, {"what": what})


@step
def take(value: float) -> float:
    return value


@pipeline
def taking(value: Any) -> float:
    return take(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "step 'take', parameter 'value': a object cannot be stored"),
        ("text", "step 'take', parameter 'value': a str does not fit its annotation"),
        (Path("/nowhere/rides.csv"), "step 'take', parameter 'value': the path '/nowhere/rides.csv' does not exist"),
    ],
)
def test_an_argument_that_cannot_be_stored_names_step_and_parameter(
    value: Any, message: str, engine: Engine, store: Store
) -> None:
    with pytest.raises(UsageError, match=message):
        engine.run(taking, {"value": value})
    assert rows(store, tables.run) == []


def test_a_large_argument_is_stored_as_an_artifact(engine: Engine, store: Store) -> None:
    @step
    def measure(numbers: list[int]) -> int:
        return len(numbers)

    @pipeline
    def measuring(numbers: list[int]) -> int:
        return measure(numbers)

    assert engine.run(measuring, {"numbers": list(range(10_000))}).value == 10_000
    assert rows(store, tables.run)[0]["parameters"]["numbers"].keys() == {"artifact"}


TWO = """
import sys
from pathlib import Path
from everloop.pipelines import Artifact, ArtifactStore, Engine, LocalExecutor, pipeline, step
from everloop.store import Store

@step
def grow(size: int) -> list[int]:
    return list(range(size))

@step
def total(numbers: list[int]) -> int:
    return sum(numbers)

@pipeline
def both(size: int) -> int:
    return total(grow(size))

root = Path(sys.argv[1])
artifacts = ArtifactStore("artifacts", root)
engine = Engine(Store("sqlite:///store.db", root), artifacts, LocalExecutor(artifacts), root, clock=lambda: 1.0)
for number in range(6):
    assert engine.run(both, {"size": number}, run_id=f"{sys.argv[2]}-{number}").value == sum(range(number))
    assert engine.run(both, {"size": number}, run_id=f"shared-{number}").value == sum(range(number))
"""


def test_two_engines_at_once_on_one_store_do_not_disturb_each_other(
    store: Store, artifacts: ArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "two.py").write_text(TWO)
    command = [sys.executable, str(tmp_path / "two.py"), str(tmp_path)]
    engines = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in ("a", "b")]
    for process in engines:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    runs = rows(store, tables.run)
    assert {r["id"] for r in runs} == {f"{name}-{number}" for name in ("a", "b", "shared") for number in range(6)}
    assert {r["status"] for r in runs} == {"finished"}
    executions = rows(store, tables.execution)
    assert {r["status"] for r in executions} <= {"finished", "failed"}  # failed: cut off by the other one's start
    stored = rows(store, tables.artifact)
    assert len(stored) == len({tuple(range(n)) for n in range(6)} | {sum(range(n)) for n in range(6)})
    for row in stored:
        del row["created"]
        assert artifacts.holds(Artifact(**row))
