"""Pipeline versions: a commit and its packages frozen, tested, deployed; what runs is what was frozen."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.projects import write_project

from everloop import store as tables
from everloop.errors import CheckError, NotFoundError, UsageError
from everloop.loop import pipeline_versions
from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.pipeline_versions import build_version, code_of, deploy_version, test_version, versions
from everloop.loop.workspace import Workspace, opened

run_tests = test_version
del test_version  # or pytest would take it for a test


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_project(tmp_path / "project", days=40)
    (folder / ".gitignore").write_text(".everloop\ndata\n__pycache__\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with opened(folder) as workspace:
        yield workspace


def change(folder: Path, commit: bool = True) -> None:
    """Another model: one that everybody can tell from the first."""
    model = folder / "toy" / "model.py"
    model.write_text(model.read_text().replace("LinearRegression()", "LinearRegression(fit_intercept=False)"))
    if commit:
        git(folder, "commit", "-qam", "no intercept")


def trained(folder: Path, **asked: Any) -> dict[str, Any]:
    outcome = ask(folder, RETRAIN, {"reason": "test", **asked})
    with opened(folder) as workspace:
        rows = workspace.store.rows(sa.select(tables.model_version))
    return next(row for row in rows if row["id"] == outcome["version"])


def test_a_version_is_a_commit_in_a_folder_of_its_own(workspace: Workspace, folder: Path) -> None:
    built = build_version(workspace)
    assert (built["id"], built["commit"], built["dirty"]) == ("pipeline-1", git(folder, "rev-parse", "HEAD"), 0)
    assert (Path(built["folder"]) / "toy" / "model.py").is_file()
    assert not (Path(built["folder"]) / "data").exists()
    assert build_version(workspace)["id"] == "pipeline-1"
    change(folder)
    assert build_version(workspace)["id"] == "pipeline-2"
    assert build_version(workspace, "HEAD~1")["id"] == "pipeline-1"
    assert [row["id"] for row in versions(workspace)] == ["pipeline-2", "pipeline-1"]


def test_changes_that_no_commit_holds_are_refused_or_recorded(workspace: Workspace, folder: Path) -> None:
    change(folder, commit=False)
    (folder / "toy" / "new.py").write_text("x = 1\n")
    with pytest.raises(UsageError, match="commit them, or say --allow-dirty"):
        build_version(workspace)
    built = build_version(workspace, allow_dirty=True)
    assert built["dirty"] == 1
    assert "fit_intercept=False" in (Path(built["folder"]) / "toy" / "model.py").read_text()
    assert (Path(built["folder"]) / "toy" / "new.py").is_file()
    assert build_version(workspace, allow_dirty=True)["id"] == built["id"]
    assert git(folder, "status", "--porcelain").splitlines()[0].endswith("toy/model.py")  # nothing was staged
    assert code_of(workspace, built["id"]).commit == f"{built['commit']}-dirty"


@pytest.mark.slow
def test_what_is_deployed_runs_whatever_the_tree_holds(folder: Path) -> None:
    with opened(folder) as workspace:
        deploy_version(workspace, build_version(workspace)["id"])
        first = code_of(workspace)
    change(folder)
    kept = trained(folder)
    assert kept["commit"] == first.commit
    with opened(folder) as workspace:
        newer = build_version(workspace)["id"]
    asked = trained(folder, version=newer)
    assert asked["commit"] == git(folder, "rev-parse", "HEAD")
    assert asked["sha256"] != kept["sha256"]
    with opened(folder) as workspace:
        with pytest.raises(NotFoundError, match="pipeline version 'pipeline-9'"):
            code_of(workspace, "pipeline-9")
        deploy_version(workspace, newer)
        assert [(row["id"], row["active"]) for row in versions(workspace)] == [(newer, True), ("pipeline-1", False)]


def test_a_folder_that_is_gone_is_checked_out_again(workspace: Workspace) -> None:
    import shutil

    built = build_version(workspace)
    shutil.rmtree(Path(built["folder"]))
    assert (code_of(workspace, built["id"]).folder / "everloop.toml").is_file()


@pytest.mark.slow
def test_its_own_tests_decide(workspace: Workspace, folder: Path) -> None:
    built = build_version(workspace)
    assert run_tests(workspace, built["id"]) == "it has no tests"
    (folder / "tests").mkdir()
    (folder / "tests" / "test_toy.py").write_text("def test_it():\n    assert 1 + 1 == 3\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a test")
    with pytest.raises(CheckError, match=r"(?s)the tests of pipeline-2 fail:.*assert \(1 \+ 1\) == 3"):
        run_tests(workspace, build_version(workspace)["id"])
    (folder / "tests" / "test_toy.py").write_text("def test_it():\n    assert 1 + 1 == 2\n")
    git(folder, "commit", "-qam", "a right test")
    newest = build_version(workspace)["id"]
    assert "1 passed" in run_tests(workspace, newest)
    assert versions(workspace)[0]["tested"]


def test_other_packages_than_those_it_was_built_with_are_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_version(workspace)
    now = pipeline_versions._distributions()
    monkeypatch.setattr(pipeline_versions, "_distributions", lambda: now | {"numpy": "0.1"})
    with pytest.raises(UsageError, match=r"built with other packages \(numpy was .*, is 0\.1\): build a new version"):
        code_of(workspace, built["id"])
    assert build_version(workspace)["id"] == "pipeline-2"


@pytest.mark.slow
def test_settings_of_one_run(folder: Path) -> None:
    for changes, told in (
        ({"training.windwo": "100"}, "unknown key 'windwo' in .training. .*window"),
        ({"gates.rmse": 1}, "name a key of .training."),
        ({"training.seed": "many"}, "does not fit .training.: Expected `int`"),
    ):
        with pytest.raises(UsageError, match=told):
            trained(folder, set=changes)
    assert trained(folder, set={"training.window": "100"})["window"]["name"] == "newest 100 rows"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_packages_of_its_own(folder: Path) -> None:
    root = Path(__file__).parents[2]
    (folder / "requirements.txt").write_text((root / "requirements" / "platform.txt").read_text())
    file = folder / "everloop.toml"
    file.write_text(file.read_text() + '\n[pipelines]\nrequirements = "requirements.txt"\n')
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "its own packages")
    with opened(folder) as workspace:
        built = build_version(workspace)
        code = code_of(workspace, built["id"])
    assert code.python is not None
    with_own, with_running = trained(folder, version=built["id"]), trained(folder)
    assert with_own["sha256"] == with_running["sha256"]
    with opened(folder) as workspace:
        parts = workspace.store.rows(sa.select(tables.execution.c.key_parts, tables.execution.c.step))
    named = [row["key_parts"]["environment"] for row in parts if row["step"] == "train"]
    assert named[0] == {"packages": built["lock_hash"]}
    assert named[1] != named[0]
