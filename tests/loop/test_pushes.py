"""What a push holds: by the files it changes, against what is deployed and what was trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.projects import write_project

from everloop import git
from everloop.errors import UsageError
from everloop.loop.pipeline_versions import build_version, deploy_version
from everloop.loop.pushes import TRAINED, kind_of, kind_of_push
from everloop.loop.workspace import Workspace, opened


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    folder = write_project(tmp_path / "project", days=40)
    (folder / ".gitignore").write_text("/.everloop/\n/data/\n__pycache__/\n")
    git.start(folder)
    git.commit_files(folder, ["."], "start")
    with opened(folder) as workspace:
        yield workspace


def commit(workspace: Workspace, name: str, text: str = "x = 1\n") -> str:
    (workspace.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (workspace.folder / name).write_text(text)
    return git.commit_files(workspace.folder, [name], f"change {name}")


def deploy(workspace: Workspace) -> None:
    deploy_version(workspace, build_version(workspace)["id"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("data.dvc", "data"),
        ("images/cats.dvc", "data"),
        ("data/rides.csv", "data"),
        ("database.py", "code"),
        ("schema.toml", "data"),
        (".dvc/config", "data"),
        ("everloop.toml", "code"),
        ("toy/model.py", "code"),
        ("tests/test_model.py", "code"),
        ("requirements.txt", "code"),
        ("README.md", "nothing"),
        ("notes/idea.md", "nothing"),
        ("docs/picture.png", "nothing"),
        (".github/workflows/everloop-ci.yml", "nothing"),
        ("cloudbuild-ct.yaml", "nothing"),
        (".gitignore", "nothing"),
    ],
)
def test_a_file_is_code_data_or_nothing(name: str, kind: str) -> None:
    assert kind_of(name, "data") == kind


def test_without_a_data_folder_only_pointers_are_data() -> None:
    assert kind_of("data/rides.csv", None) == "code"
    assert kind_of("rides.dvc", None) == "data"


def test_a_push_is_code_until_its_version_is_deployed(workspace: Workspace) -> None:
    assert kind_of_push(workspace, "HEAD") == "code"  # nothing is deployed
    deploy(workspace)
    assert kind_of_push(workspace, "HEAD") == "data"  # nothing was trained
    git.run(workspace.folder, "update-ref", TRAINED, "HEAD")
    assert kind_of_push(workspace, "HEAD") == "nothing"
    commit(workspace, "toy/model.py")
    changed = commit(workspace, "README.md")  # its own push is text, but the code before was never built
    assert kind_of_push(workspace, changed) == "code"
    deploy(workspace)
    assert kind_of_push(workspace, changed) == "data"  # built, but nothing was trained with it
    git.run(workspace.folder, "update-ref", TRAINED, changed)
    assert kind_of_push(workspace, changed) == "nothing"


def test_data_counts_until_it_was_trained_on(workspace: Workspace) -> None:
    deploy(workspace)
    git.run(workspace.folder, "update-ref", TRAINED, "HEAD")
    commit(workspace, "data.dvc", "outs: []\n")
    pushed = commit(workspace, "README.md")  # the push of data failed; this one finds it
    assert kind_of_push(workspace, pushed) == "data"
    git.run(workspace.folder, "update-ref", TRAINED, pushed)
    assert kind_of_push(workspace, pushed) == "nothing"
    assert kind_of_push(workspace, commit(workspace, "docs/page.md")) == "nothing"


def test_a_commit_that_is_not_here(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="has no commit"):
        kind_of_push(workspace, "0" * 40)
