"""Pipelines of a project's own: run by name, typed arguments, compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.projects import write_project

from everloop.errors import UsageError
from everloop.loop.own_pipelines import compile_own, run_own, schedule_own
from everloop.loop.workspace import opened
from everloop.pipelines import Progress

STEPS = """
from pathlib import Path
from everloop.pipelines import pipeline, step

@step
def size(file: Path) -> int:
    return len(file.read_text())

@step
def times(number: int, by: int) -> int:
    return number * by

@pipeline
def sizes(file: Path, by: int = 2) -> int:
    return times(size(file), by)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_project(tmp_path / "project")
    (folder / "own_steps.py").write_text(STEPS)
    (tmp_path / "file.txt").write_text("seven..")
    return folder


def test_by_name_with_typed_arguments(folder: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    given = {"file": str(tmp_path / "file.txt"), "by": 3}
    with opened(folder) as workspace:
        first = run_own(workspace, "own_steps:sizes", given, "r1", told.append)
        assert (first.value, first.id) == (21, "r1")
        again = run_own(workspace, "own_steps:sizes", given, "r1", told.append)
        assert [execution.status for execution in again.executions] == ["kept", "kept"]
    assert [progress.step for progress in told[:2]] == ["size", "size"]


def test_what_is_wrong_is_said(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as workspace:

        def run(reference: str, **given: Any) -> None:
            run_own(workspace, reference, given, None, lambda _: None)

        with pytest.raises(UsageError, match=r"pipeline 'own_steps:sizes' has no argument 'buy' .*by"):
            run("own_steps:sizes", buy=3)
        with pytest.raises(UsageError, match=r"--set by: Expected `int`, got `str`"):
            run("own_steps:sizes", file="a", by="three")
        with pytest.raises(UsageError, match="'own_steps:size' is a Step, and no pipeline"):
            run("own_steps:size")
        with pytest.raises(UsageError, match="the pipeline 'nowhere:sizes' cannot be imported"):
            run("nowhere:sizes")
        with pytest.raises(UsageError, match="only Kubeflow Pipelines keeps a schedule"):
            schedule_own(workspace, "own_steps:sizes", {"file": str(tmp_path / "file.txt")}, "0 0 3 * * *")
        with pytest.raises(UsageError, match="the retraining takes its arguments from the project file"):
            compile_own(workspace, None, {"by": 1}, tmp_path / "ir.yaml")


def test_compiled_it_is_ir(folder: Path, tmp_path: Path) -> None:
    file, state = folder / "everloop.toml", tmp_path / "volume"
    state.mkdir()
    file.write_text(
        f'{file.read_text()}\n[pipelines]\nimage = "toy:1"\nvolume = "claim:{state}"\n'
        f'[storage]\nstore = "sqlite:///{state}/store.db"\nartifacts = "{state}/artifacts"\n'
    )
    with opened(folder) as workspace:
        compile_own(workspace, "own_steps:sizes", {"file": str(tmp_path / "file.txt")}, tmp_path / "ir.yaml")
        compile_own(workspace, None, {}, tmp_path / "retrain.yaml")
    own, _ = yaml.safe_load_all((tmp_path / "ir.yaml").read_text())
    assert set(own["root"]["inputDefinitions"]["parameters"]) == {"everloop_run", "file", "by"}
    whole, _ = yaml.safe_load_all((tmp_path / "retrain.yaml").read_text())
    (pod,) = whole["deploymentSpec"]["executors"].values()  # small neighbours share one
    assert pod["container"]["image"] == "toy:1"
    assert [word for word in pod["container"]["args"] if word in ("train", "judge")] == ["train", "judge"]
