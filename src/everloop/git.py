"""A project's git repository, through the `git` command: what its commit is, and commits of single files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from everloop.errors import SystemError_

__all__ = [
    "branch",
    "changed",
    "commit_files",
    "commit_of",
    "contains",
    "describe",
    "fetch",
    "has",
    "is_repository",
    "log",
    "messages",
    "prefix",
    "restore",
    "run",
    "snapshot",
    "start",
    "tag_files",
    "tip",
]

TIMEOUT = 60
NEVER_ASK = {"GIT_TERMINAL_PROMPT": "0"}
AUTHOR = ("-c", "user.name=everloop", "-c", "user.email=everloop@localhost")


def run(folder: Path, *arguments: str, text: str | None = None, variables: Mapping[str, str] | None = None) -> str:
    """Return what `git ARGUMENTS` prints in `folder`; raises `SystemError_` with the last line git says."""
    try:
        found = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False, input=text,
            env=os.environ | dict(variables or {}),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SystemError_(f"git {arguments[0]} did not run in {folder}: {error}") from error
    if found.returncode:
        told = [line for line in (found.stderr or found.stdout).splitlines() if line.strip()] or ["it said nothing"]
        raise SystemError_(f"git {arguments[0]} failed in {folder}: {told[-1].removeprefix('fatal: ').strip()}")
    return found.stdout


def is_repository(folder: Path) -> bool:
    """Tell whether a folder lies in a git repository (False too where git is missing)."""
    try:
        return run(folder, "rev-parse", "--is-inside-work-tree").strip() == "true"
    except SystemError_:
        return False


def start(folder: Path) -> None:
    """Make a folder a git repository whose branch is `main`, which triggers and CI files watch where none is named."""
    run(folder, "-c", "init.defaultBranch=main", "init", "-q")


def describe(folder: Path) -> str | None:
    """Return the commit a folder is at, `-dirty` where it holds other code; None outside of git and before a commit.

    Dirty is a change of any file git follows, and a Python file it does not follow yet.
    """
    try:
        commit = run(folder, "rev-parse", "--verify", "HEAD").strip()
        changes = run(folder, "status", "--porcelain", "--untracked-files=all", "--", ".").splitlines()
    except SystemError_:
        return None
    dirty = any(not line.startswith("??") or line.endswith(".py") for line in changes)
    return f"{commit}-dirty" if dirty else commit


def commit_files(folder: Path, paths: Iterable[str], message: str) -> str:
    """Commit these files as they are, nothing else of the tree, and return the commit; equal files make no new one.

    Where git does not know who the author is, it is `everloop`.
    """
    named = list(paths)
    run(folder, "add", "--", *named)
    if run(folder, "status", "--porcelain", "--", *named).strip():
        run(folder, *_author(folder), "commit", "-q", "-m", message, "--", *named)
    return run(folder, "rev-parse", "HEAD").strip()


def commit_of(folder: Path, ref: str) -> str:
    """Return the commit that a branch, tag or commit names; raises `SystemError_` where nothing has that name."""
    try:
        return run(folder, "rev-parse", "--verify", "-q", f"{ref}^{{commit}}").strip()
    except SystemError_ as error:
        if is_repository(folder):
            raise SystemError_(f"{folder} has no commit {ref!r}: name a branch, a tag or a commit") from error
        raise


def fetch(folder: Path, remote: str, branch: str) -> bool:
    """Bring a branch's new commits here; False where there is no such remote."""
    if remote not in run(folder, "remote").split():
        return False
    where = f"+refs/heads/{branch}:refs/remotes/{remote}/{branch}"
    run(folder, "fetch", "--quiet", "--no-tags", remote, where, variables=NEVER_ASK)
    return True


def tip(folder: Path, remote: str, branch: str) -> str | None:
    """Return the newest commit of a branch: at the remote as fetched last, or here where there is no such remote."""
    there = remote in run(folder, "remote").split()
    ref = f"refs/remotes/{remote}/{branch}" if there else f"refs/heads/{branch}"
    return run(folder, "for-each-ref", "--format=%(objectname)", ref).strip() or None


def has(folder: Path, commit: str) -> bool:
    """Tell whether a commit is known here."""
    try:
        return bool(commit_of(folder, commit))
    except SystemError_:
        return False


def branch(folder: Path) -> str:
    """Return the branch that is checked out; empty where there is none, as at a commit by itself."""
    return run(folder, "branch", "--show-current").strip()


def contains(folder: Path, commit: str, inner: str) -> bool:
    """Tell whether a commit is another one, or was made after it."""
    if commit == inner:
        return True
    return not run(folder, "rev-list", "--max-count=1", inner, f"^{commit}").strip()


def changed(folder: Path, before: str | None, commit: str) -> list[str]:
    """Return the files that differ between two commits, as the repository names them; without `before` all of them."""
    if before is None:
        return run(folder, "ls-tree", "-r", "-z", "--full-tree", "--name-only", commit).split("\0")[:-1]
    return run(folder, "diff", "-z", "--name-only", "--no-renames", before, commit).split("\0")[:-1]


def messages(folder: Path, before: str, commit: str) -> list[str]:
    """Return the messages of the commits that came after `before`."""
    return [text.strip() for text in run(folder, "log", "-z", "--format=%B", f"{before}..{commit}").split("\0") if text]


def restore(folder: Path, commit: str, path: str) -> None:
    """Make a path, in the tree and in the index, what it is at a commit; what is not there at it is removed."""
    known = run(folder, "ls-tree", "--name-only", commit, "--", path).strip()
    if known or run(folder, "ls-files", "--", path).strip():
        run(folder, "restore", f"--source={commit}", "--staged", "--worktree", "--", path)


def snapshot(folder: Path) -> str:
    """Return a commit of the working tree as it is, which no branch sees; nothing that is ignored is in it.

    A reference keeps it from git's garbage collection.
    """
    with tempfile.TemporaryDirectory() as place:
        index = {"GIT_INDEX_FILE": str(Path(place, "index"))}
        run(folder, "read-tree", "HEAD", variables=index)
        run(folder, "add", "--all", ":/", variables=index)
        tree = run(folder, "write-tree", variables=index).strip()
    when = run(folder, "log", "-1", "--format=%cI").strip()  # so that equal trees make one commit
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    message = "everloop: the working tree as it was"
    commit = run(folder, *_author(folder), "commit-tree", tree, "-p", "HEAD", "-m", message, variables=dates).strip()
    run(folder, "update-ref", f"refs/everloop/{commit}", commit)
    return commit


def log(folder: Path, path: str) -> list[tuple[str, float, str]]:
    """Return the commits that changed a file, newest first: (commit, time in seconds since 1970, first line)."""
    try:
        lines = run(folder, "log", "--format=%H%x00%ct%x00%s", "--", path).splitlines()
    except SystemError_:
        return []  # no commit yet
    return [(c, float(t), s) for c, t, s in (line.split("\0") for line in lines)]


def tag_files(folder: Path, tag: str, files: Mapping[str, str], message: str, parent: str = "HEAD") -> None:
    """Put files under a tag, as a commit after `parent` that no branch and no working tree sees."""
    blobs = {name: run(folder, "hash-object", "-w", "--stdin", text=text).strip() for name, text in files.items()}
    tree = run(folder, "mktree", text=_tree(folder, blobs)).strip()
    commit = run(folder, *_author(folder), "commit-tree", tree, "-p", parent, "-m", message).strip()
    run(folder, "update-ref", f"refs/tags/{tag}", commit)


def prefix(folder: Path) -> str:
    """Return where a folder lies in its repository: empty at the root, else ending in `/`."""
    return run(folder, "rev-parse", "--show-prefix").strip()


def _tree(folder: Path, blobs: Mapping[str, str]) -> str:
    """Return what `git mktree` reads; a name `a/b` becomes a tree of its own."""
    lines, inner = [], dict[str, dict[str, str]]()
    for name, blob in blobs.items():
        head, _, rest = name.partition("/")
        if rest:
            inner.setdefault(head, {})[rest] = blob
        else:
            lines.append(f"100644 blob {blob}\t{name}")
    for name, below in inner.items():
        tree = run(folder, "mktree", text=_tree(folder, below)).strip()
        lines.append(f"040000 tree {tree}\t{name}")
    return "".join(f"{line}\n" for line in lines)


def _author(folder: Path) -> tuple[str, ...]:
    try:
        run(folder, "var", "GIT_AUTHOR_IDENT")
        run(folder, "var", "GIT_COMMITTER_IDENT")
    except SystemError_:
        return AUTHOR
    return ()
