"""A project's CI files: described from its settings, written whole, never over what a person changed."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from tests.projects import write_project

from everloop import git
from everloop.errors import UsageError
from everloop.exporters.stages import Described
from everloop.loop.ci_files import describe, write_files

KUBEFLOW = """
[pipelines]
runner = "kubeflow"
secrets = ["store:password=PGPASSWORD"]
requirements = "pins/all.txt"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", days=10)


def test_a_project_is_described_by_its_settings(folder: Path) -> None:
    everloop = f'"everloop[platform]=={metadata.version("everloop")}"'
    here = describe(folder).python
    assert describe(folder) == Described("toy", everloop, "everloop.toml", "data.dvc", python=here)
    (folder / "requirements.txt").write_text("everloop[platform]\n")
    assert describe(folder).requirements == "-r requirements.txt"
    with (folder / "everloop.toml").open("a") as file:
        file.write(KUBEFLOW)
    told = describe(folder, "trunk")
    assert (told.requirements, told.keyed) == ("-r pins/all.txt", "pins/all.txt")
    assert (told.compiled, told.secrets, told.branch) == (True, ("PGPASSWORD",), "trunk")


def test_files_are_written_once_and_not_over_changes(folder: Path) -> None:
    files = write_files(folder, "github")
    assert files == [f".github/workflows/everloop-{name}.yml" for name in ("ci", "ct", "cd")]
    assert write_files(folder, "github") == files  # equal files are no conflict
    (folder / files[1]).write_text("mine\n")
    (folder / files[0]).unlink()
    with pytest.raises(UsageError, match=r"everloop-ct.yml is there already, .* or say --force"):
        write_files(folder, "github")
    assert not (folder / files[0]).exists()
    write_files(folder, "github", force=True)
    assert "everloop-ct" in (folder / files[1]).read_text()
    assert write_files(folder, "jenkins") == ["Jenkinsfile"]
    assert len(write_files(folder, "cloudbuild")) == 3


def test_what_cannot_be_described(folder: Path) -> None:
    with pytest.raises(UsageError, match="name a branch"):
        describe(folder, "main]\nmore: [x")
    git.start(folder.parent)
    with pytest.raises(UsageError, match=r"this project lies in its folder project/"):
        write_files(folder, "github")
    assert not (folder / ".github").exists()


def test_a_folder_in_the_way_leaves_all_as_it_was(folder: Path) -> None:
    (folder / ".github" / "workflows" / "everloop-cd.yml").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"everloop-cd\.yml is a folder, and a file belongs there"):
        write_files(folder, "github", force=True)
    assert [path.name for path in (folder / ".github" / "workflows").iterdir()] == ["everloop-cd.yml"]
