"""A project's data under git and DVC, on folders and on real servers of both object protocols."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.buckets import gs_server, s3_server

from everloop import git
from everloop.data import dvc
from everloop.errors import SystemError_, UsageError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    git.start(folder)
    dvc.start(folder)
    git.commit_files(folder, ["."], "start")
    return folder


def added(folder: Path, **files: str) -> dvc.Repository:
    """Write and version files of the data folder."""
    for name, text in files.items():
        (folder / "data" / f"{name}.csv").write_text(text)
    found = dvc.Repository(folder, "data")
    found.add([f"{name}.csv" for name in files])
    git.commit_files(folder, ["data.dvc", ".gitignore"], f"add {', '.join(files)}")
    return found


def test_versions_of_the_folder_come_back(project: Path) -> None:
    assert dvc.Repository(project, "data").pointer() is None
    found = added(project, a="1\n")
    (project / "data" / "stray.csv").write_text("not versioned")
    added(project, b="2\n")
    assert found.versioned() == ["a.csv", "b.csv"]
    assert found.pointer() == found.pointer("HEAD") != found.pointer("HEAD~1")
    assert found.diff("HEAD~1", "HEAD") == {"added": ["data/b.csv"], "modified": [], "deleted": []}
    assert found.changed()
    (project / "data" / "stray.csv").unlink()
    assert not found.changed()
    found.checkout("HEAD~1")
    assert [p.name for p in (project / "data").iterdir()] == ["a.csv"]
    found.checkout("HEAD")
    assert (project / "data" / "b.csv").read_text() == "2\n"


def test_a_file_and_its_version_are_one_on_the_disk(project: Path) -> None:
    if project.stat().st_dev != (project / ".dvc").stat().st_dev:
        pytest.skip("no link can be made here")
    found = added(project, a="1\n" * 1000)
    assert (project / "data" / "a.csv").stat().st_nlink == 2
    added(project, b="2\n" * 1000)
    found.checkout("HEAD~1")
    found.checkout("HEAD")
    assert [path.stat().st_nlink for path in sorted((project / "data").iterdir())] == [2, 2]
    assert not (project / "data" / "b.csv").stat().st_mode & 0o222


def test_a_training_set_is_a_tag_that_dvc_reads_and_nothing_else_sees(project: Path, tmp_path: Path) -> None:
    found = added(project, a="1\n")
    tag = found.keep("data-1", ".parquet", b"rows")
    assert tag == found.keep("data-1", ".parquet", b"rows")
    assert tag != found.keep("data-1", ".parquet", b"other rows")
    assert git.describe(project) == git.run(project, "rev-parse", "HEAD").strip()  # not dirty
    out = tmp_path / "back.parquet"
    subprocess.run(
        [sys.executable, "-m", "dvc", "get", "-q", str(project), "data-1.parquet", "--rev", str(tag), "-o", str(out)],
        check=True,
        timeout=60,
    )
    assert out.read_bytes() == b"rows"


@pytest.fixture(params=["folder", *(pytest.param(name, marks=pytest.mark.slow) for name in ("s3", "gs"))])
def remote(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "remote")
        return
    with (s3_server if request.param == "s3" else gs_server)("everloop-test") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield f"{request.param}://everloop-test/place"


def test_a_remote_gets_everything_and_gives_it_to_a_clone(project: Path, tmp_path: Path, remote: str) -> None:
    found = added(project, a="1\n")
    tag = found.keep("data-1", ".parquet", b"rows")
    found.set_remote(remote)  # after the tag was made
    git.commit_files(project, [".dvc/config"], "remote")
    assert found.push() == 3  # the file, the folder's listing, the training set
    assert found.push() == 0
    clone = tmp_path / "clone"
    git.run(tmp_path, "clone", "-q", str(project), str(clone))
    dvc.Repository(clone, "data").checkout("HEAD")
    assert (clone / "data" / "a.csv").read_text() == "1\n"
    out = tmp_path / "back.parquet"
    command = [
        sys.executable,
        "-m",
        "dvc",
        "get",
        "-q",
        str(clone),
        "data-1.parquet",
        "--rev",
        str(tag),
        "-o",
        str(out),
    ]
    subprocess.run(command, check=True, timeout=60)
    assert out.read_bytes() == b"rows"


def test_a_remote_that_refuses_is_told_with_its_reason(project: Path) -> None:
    found = added(project, a="1\n")
    with pytest.raises(UsageError, match="there is no remote: name one with `everloop data remote URL`"):
        found.push()
    found.set_remote("/proc/nothing")
    with pytest.raises(SystemError_, match=r"dvc push failed: .*'/proc/nothing'"):
        found.push()


def test_a_missing_driver_is_told_with_how_to_get_it() -> None:
    told = "ERROR: unexpected error - s3 is supported, but requires 'dvc-s3' to be installed. pip install dvc-s3"
    assert dvc._reason(told).endswith("pip install 'everloop[s3]'")
