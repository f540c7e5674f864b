"""git through its command: commits of single files, tags beside the branch, and one sentence where it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from everloop import git
from everloop.errors import SystemError_


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    git.start(tmp_path)
    return tmp_path


def test_only_the_named_files_are_committed(folder: Path) -> None:
    assert git.describe(folder) is None
    (folder / "a").write_text("1")
    (folder / "b").write_text("half done")
    commit = git.commit_files(folder, ["a"], "first")
    assert git.run(folder, "ls-tree", "--name-only", "HEAD").split() == ["a"]
    assert git.commit_files(folder, ["a"], "again") == commit  # nothing new, no new commit
    assert [(c, m) for c, _, m in git.log(folder, "a")] == [(commit, "first")]
    assert git.log(folder, "b") == []
    assert git.describe(folder) == commit  # b is no code
    (folder / "helper.py").write_text("")
    assert git.describe(folder) == f"{commit}-dirty"
    (folder / "helper.py").unlink()
    (folder / "a").write_text("2")
    assert git.describe(folder) == f"{commit}-dirty"


def test_what_is_staged_of_another_file_stays_staged(folder: Path) -> None:
    (folder / "a").write_text("1")
    git.commit_files(folder, ["a"], "first")
    (folder / "b").write_text("being written")
    git.run(folder, "add", "b")
    (folder / "a").write_text("2")
    git.commit_files(folder, ["a"], "second")
    assert git.run(folder, "status", "--porcelain").split() == ["A", "b"]


def test_a_tag_holds_files_that_no_branch_and_no_folder_sees(folder: Path) -> None:
    (folder / "a").write_text("1")
    head = git.commit_files(folder, ["a"], "first")
    git.tag_files(folder, "kept/x-1", {"x.txt": "x", "deep/er/y.txt": "y"}, "kept")
    assert git.run(folder, "show", "kept/x-1:deep/er/y.txt") == "y"
    assert git.run(folder, "rev-parse", "kept/x-1^", "HEAD").split() == [head, head]
    assert [p.name for p in folder.iterdir() if p.name != ".git"] == ["a"]


def test_where_git_does_not_know_the_author_everloop_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    git.run(folder, "config", "user.useConfigOnly", "true")
    (folder / "a").write_text("1")
    git.commit_files(folder, ["a"], "first")
    assert git.run(folder, "log", "-1", "--format=%an").strip() == "everloop"


def test_outside_of_a_repository(tmp_path: Path) -> None:
    assert not git.is_repository(tmp_path)
    assert git.describe(tmp_path) is None
    with pytest.raises(SystemError_, match=r"git log failed in .*: not a git repository"):
        git.run(tmp_path, "log")


def test_a_name_of_no_commit_is_told(folder: Path) -> None:
    (folder / "a").write_text("1")
    commit = git.commit_files(folder, ["a"], "first")
    assert git.commit_of(folder, "HEAD") == commit
    with pytest.raises(SystemError_, match="has no commit 'v9': name a branch, a tag or a commit"):
        git.commit_of(folder, "v9")
