"""`everloop tune` end to end: killed and gone on with, shown in MLflow, the best written into the project file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mlflow import MlflowClient
from tests.projects import write_project

from everloop import Project
from everloop.errors import SettingsError, UsageError
from everloop.loop.tracking import mlflow_url, run_tracking
from everloop.loop.tuning import Tuned, tune
from everloop.loop.workspace import opened
from everloop.settings import load

pytest.importorskip("optuna")

MODEL = """
import os
import time
from pathlib import Path

from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def regression(alpha=300.0, degree=1):
    seen = Path(os.environ.get("TOY_HOLD", "nowhere"))
    if seen.is_dir():  # the sixth value, and any later one, waits to be killed
        (seen / str(alpha)).touch()
        while len(list(seen.glob("*"))) > 5:
            time.sleep(0.01)
    return make_pipeline(StandardScaler(), Ridge(alpha))
"""
TUNING = """
[tuning]
trials = 8
parallel = {parallel}

[tuning.parameters]
alpha = {{ min = 0.001, max = 500.0, log = true }}
"""


def written(folder: Path, parallel: int = 2, extra: str = "") -> Path:
    project = write_project(folder / "toy", days=60, change=100)
    (project / "toy" / "model.py").write_text(MODEL)
    toml = project / "everloop.toml"
    text = toml.read_text().replace("mlflow = false", 'mlflow = "local"')
    toml.write_text(text + TUNING.format(parallel=parallel) + extra)
    return project


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("alfa = { min = 1, max = 2 }", "has no parameter 'alfa' .did you mean 'alpha'"),
        ("degree = { min = 2, max = 3 }", "it is 1 now, which is none of what is searched"),
    ],
)
def test_what_cannot_be_searched_is_told_with_its_line(extra: str, words: str, tmp_path: Path) -> None:
    project = written(tmp_path, extra=extra)
    with opened(project) as workspace, pytest.raises(SettingsError, match=words) as caught:
        tune(workspace)
    assert caught.value.line == (project / "everloop.toml").read_text().splitlines().index(extra) + 1
    toml = project / "everloop.toml"
    toml.write_text(toml.read_text().partition("[tuning.parameters]")[0])
    with opened(project) as workspace, pytest.raises(UsageError, match="nothing to tune"):
        tune(workspace)


def command(project: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "everloop.cli", "tune", "--json", "--project", str(project), *more]


@pytest.mark.slow
@pytest.mark.timeout(900)  # processes that import everything anew
def test_a_study_is_killed_goes_on_and_is_shown_in_mlflow(tmp_path: Path) -> None:
    project = written(tmp_path)
    hold = tmp_path / "hold"
    hold.mkdir()
    process = subprocess.Popen(
        command(project), env=os.environ | {"TOY_HOLD": str(hold)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if re.match("trials [345] of 8", line):  # two may end together
            process.send_signal(signal.SIGKILL)
            break
    hold.rename(tmp_path / "gone")  # those that wait in its workers go on, and end with it
    process.communicate()
    assert load(project).training.parameters == {}
    done = subprocess.run(command(project), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=Tuned)
    assert found.complete + found.pruned == 8
    assert found.before is not None
    assert found.before.parameters == {"alpha": 300.0}
    assert (found.best.loss or 0) < (found.before.loss or 0)
    assert found.written
    assert load(project).training.parameters == found.best.parameters

    run_tracking(project, once=True)
    with opened(project) as workspace:
        client: Any = MlflowClient(mlflow_url(workspace))
    experiment = client.get_experiment_by_name("toy").experiment_id
    runs = client.search_runs([experiment], max_results=100)
    calls = [run for run in runs if run.info.run_name == f"tuning {found.study}"]
    trials = [run for run in runs if "everloop.trial" in run.data.tags]
    assert sorted(run.info.status for run in calls) == ["FINISHED", "KILLED"]
    parents = {run.info.run_id for run in calls}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == parents
    ended = [run for run in trials if run.data.tags["everloop.state"] in ("complete", "pruned")]
    assert len(ended) == 8
    best = next(run for run in trials if run.data.tags["everloop.trial"] == f"{found.study}/{found.best.number}")
    assert float(best.data.params["alpha"]) == found.best.parameters["alpha"]
    history = client.get_metric_history(best.info.run_id, "loss")
    assert [metric.value for metric in sorted(history, key=lambda m: m.step)] == found.best.losses
    assert {"system/seconds", "system/cpu_seconds", "system/peak_memory_megabytes"} < set(best.data.metrics)
    assert len(runs) == len(calls) + len(trials)

    # nothing is left to do, and the file stays as it is
    before = (project / "everloop.toml").read_bytes()
    again = Project.open(project).tune()
    assert (again["complete"], again["pruned"], again["written"]) == (found.complete, found.pruned, False)
    assert (project / "everloop.toml").read_bytes() == before


@pytest.mark.slow
@pytest.mark.timeout(900)  # processes that import everything anew
def test_the_fits_run_on_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    project = written(tmp_path, extra='\n[pipelines]\nrunner = "ray"\n')
    done = subprocess.run(command(project, "--trials", "4", "--no-write"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=Tuned)
    assert (found.complete, found.failed, found.written) == (4, 0, False)
    assert load(project).training.parameters == {}
