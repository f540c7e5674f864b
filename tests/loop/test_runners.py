"""The bike-sharing project, unchanged, wherever its steps run: the same model to the byte."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from tests.kubeflow import kubeflow
from tests.projects import write_project

from everloop import store as tables
from everloop.errors import NotFoundError, UsageError
from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.projects import create_project
from everloop.loop.runners import executor_of, target_of
from everloop.loop.workspace import opened

HOURS = Path(__file__).parents[3] / "shared" / "data" / "bike-sharing" / "hour.csv"


def bike_project(folder: Path, settings: str) -> Path:
    """A project of the template with the first 3,000 hours."""
    create_project(folder, "bike-sharing")
    (folder / "data").mkdir(exist_ok=True)
    pd.read_csv(HOURS, nrows=3000).to_csv(folder / "data" / "hour.csv", index=False)
    file = folder / "everloop.toml"
    file.write_text(f"{file.read_text()}\n[tracking]\nmlflow = false\ntensorboard = false\n{settings}")
    return folder


def trained(folder: Path) -> tuple[str, int]:
    """Train, and return the model's hash and how many steps ran."""
    ask(folder, RETRAIN, {"reason": "test"})
    with opened(folder) as workspace:
        (row,) = workspace.store.rows(sa.select(tables.model_version))
        ran = workspace.store.rows(sa.select(tables.execution).where(tables.execution.c.status == "finished"))
    return str(row["sha256"]), len(ran)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(not HOURS.is_file(), reason="the bike-sharing hours are not there")
def test_the_same_model_wherever_its_steps_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "volume"
    state.mkdir()
    on_volume = (
        f'runner = "kubeflow"\nimage = "bikes:1"\nvolume = "models:{state}"\n'
        f'[storage]\nstore = "sqlite:///{state}/store.db"\nartifacts = "{state}/artifacts"\n'
    )
    found = {}
    for runner in ("local", "ray", "tfx", "mlrun"):
        found[runner] = trained(bike_project(tmp_path / runner, f'[pipelines]\nrunner = "{runner}"\n'))
    with kubeflow() as api:
        folder = bike_project(tmp_path / "kubeflow", f'[pipelines]\naddress = "{api.address}"\n{on_volume}')
        api.places = {"/project": str(folder), "python3": sys.executable}
        found["kubeflow"] = trained(folder)
        assert [run["state"] for run in api.runs.values()] == ["SUCCEEDED"]
    with capfd.disabled():
        print(f"\nmodel.onnx and steps by runner: {found}")
    assert set(found.values()) == {found["local"]}
    assert found["local"][1] == 7  # collect and inspect, and the five of the retraining


def test_pods_must_reach_store_and_artifacts(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    file = folder / "everloop.toml"
    plain = file.read_text()
    file.write_text(f'{plain}\n[pipelines]\nrunner = "kubeflow"\nimage = "i"\naddress = "http://kfp"\n')
    with opened(folder) as workspace, pytest.raises(UsageError, match=r"pods cannot reach \[storage\] store = 'sqlite"):
        target_of(workspace)
    file.write_text(f'{plain}\n[pipelines]\nrunner = "rya"\n')
    with opened(folder) as workspace, pytest.raises(NotFoundError, match=r"runner 'rya' .*ray"):
        executor_of(workspace)
