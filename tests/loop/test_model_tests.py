"""`everloop test`: a sound project passes, and each thing that is made wrong fails the check that is about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.projects import write_project

from everloop import Project
from everloop.errors import SettingsError
from everloop.loop.model_tests import Examined, examine_model
from everloop.loop.workspace import opened

IMPUTED = ("StandardScaler(), LinearRegression()", "SimpleImputer(), StandardScaler(), LinearRegression()")
TESTS = """
latency = "5s"
memory = "2GB"

[[tests.expectations]]
column = "a"
change = "+1"
expect = "up"

[[tests.expectations]]
column = "hour"
change = "+2"
expect = "down"
"""


def written(folder: Path, tests: str = TESTS) -> Path:
    """Write a project whose answers rise with `a` and `hour`, and take rows with gaps."""
    project = write_project(folder / "toy", days=20, change=30)
    model = project / "toy" / "model.py"
    text = model.read_text().replace(*IMPUTED)
    model.write_text(f"from sklearn.impute import SimpleImputer\n{text}")
    (project / "tests").mkdir()
    (project / "tests" / "test_toy.py").write_text("def test_it() -> None:\n    assert True\n")
    with (project / "everloop.toml").open("a") as file:
        file.write(f"\n[tests]{tests}")
    return project


def examined(project: Path) -> dict[str, str]:
    with opened(project) as workspace:
        return results(examine_model(workspace))


def results(found: Examined) -> dict[str, str]:
    return {check.name: check.result for check in found.checks}


@pytest.mark.slow
@pytest.mark.timeout(900)  # processes that import everything anew
def test_a_model_is_trained_for_its_tests_and_nothing_is_kept(tmp_path: Path) -> None:
    project = written(tmp_path)
    told: list[str] = []
    with opened(project) as workspace:
        found = examine_model(workspace, tell=told.append)
    assert results(found) == {
        "unit tests": "passed",
        "steps give artifacts": "passed",
        "loss falls": "passed",
        "overfits few rows": "passed",
        "bundle answers as the model": "passed",
        "no NaN from zeros": "passed",
        "no NaN from missing values": "passed",
        "no NaN from extreme values": "passed",
        "a +1: up": "passed",
        "hour +2: down": "failed",
        "loads where it serves": "passed",
        "latency p99, ms": "passed",
        "memory, MB": "passed",
    }
    assert (found.version, found.failed) == ("", 1)
    values = {check.name: check.value for check in found.checks}
    assert values["hour +2: down"] == 0.0
    assert 0 < (values["latency p99, ms"] or 0) < 5000
    assert told == ["tests of the code", "training", "learning", "answers", "serving"]
    assert not Project.open(project).versions()
    assert not list((project / ".everloop" / "bundles").iterdir())


@pytest.mark.slow
@pytest.mark.timeout(900)  # processes that import everything anew
def test_the_newest_version_is_tested_as_it_stands(tmp_path: Path) -> None:
    project = written(tmp_path)
    Project.open(project).run()
    found = Project.open(project).test()
    assert (found["version"], found["failed"], len(found["checks"])) == ("v1", 1, 13)
    with opened(project) as workspace:
        train = next(path for path in workspace.path(".everloop/artifacts").rglob("*.parquet"))
    # other code than it was trained with, tests that fail, and a budget that nothing keeps
    model = project / "toy" / "model.py"
    model.write_text(model.read_text().replace("LinearRegression()", "LinearRegression(positive=True)"))
    (project / "tests" / "test_toy.py").write_text("def test_it() -> None:\n    assert False\n")
    toml = project / "everloop.toml"
    toml.write_text(toml.read_text().replace('"2GB"', '"1MB"').replace('"5s"', '"1ms"\nskip = ["overfits few rows"]'))
    told = examined(project)
    assert told["bundle answers as the model"] == told["overfits few rows"] == "skipped"
    assert told["unit tests"] == told["memory, MB"] == "failed"
    toml.write_text(toml.read_text().replace("overfits few rows", "overfit few rows"))
    with opened(project) as workspace, pytest.raises(SettingsError, match=r"is no check .did you mean 'overfits"):
        examine_model(workspace)
    # a bundle that does not load
    toml.write_text(toml.read_text().replace("overfit few rows", "overfits few rows"))
    graph = next((project / ".everloop" / "bundles").rglob("model.onnx"))
    kept = graph.read_bytes()
    graph.write_bytes(kept[:-1])
    told = examined(project)
    assert told["bundle answers as the model"] == told["loads where it serves"] == "failed"
    graph.write_bytes(kept)
    # an artifact that is damaged
    train.write_bytes(train.read_bytes()[:-1])
    ended = subprocess.run(
        [sys.executable, "-m", "everloop.cli", "test", "--project", str(project)], capture_output=True, text=True
    )
    assert ended.returncode == 3
    assert "damaged" in ended.stderr or "missing" in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)  # processes that import everything anew
def test_what_is_made_wrong_is_found(tmp_path: Path) -> None:
    project = written(tmp_path, "\n")
    model = project / "toy" / "model.py"
    model.write_text(
        model.read_text().replace("SimpleImputer(), ", "").replace("LinearRegression()", "Ridge(alpha=1e7)")
    )
    model.write_text(f"from sklearn.linear_model import Ridge\n{model.read_text()}")
    told = examined(project)
    assert [name for name, result in told.items() if result == "failed"] == [
        "overfits few rows", "no NaN from missing values",
    ]  # fmt: skip
    # what guards refuse is never answered
    with (project / "everloop.toml").open("a") as file:
        file.write('[guards]\nschema = "reject"\n')
    assert examined(project)["no NaN from missing values"] == "skipped"
    # a project that cannot train fails, one without rows has nothing to test but its code
    history = project / "data" / "history.csv"
    history.write_text(history.read_text().replace("2024-01-01T00:00:00Z", "yesterday", 1))
    assert examined(project) == {"unit tests": "passed", "steps give artifacts": "failed", "the model": "skipped"}
    history.unlink()
    ended = subprocess.run(
        [sys.executable, "-m", "everloop.cli", "test", "--json", "--project", str(project)], capture_output=True
    )
    found = msgspec.json.decode(ended.stdout, type=Examined)
    assert (ended.returncode, results(found)) == (0, {"unit tests": "passed", "the model": "skipped"})
