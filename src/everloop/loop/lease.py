"""Leases: a file that one process holds, and that a crash gives back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from everloop.errors import BusyError

__all__ = ["holder", "lease"]


def holder(path: Path) -> int | None:
    """Return the process that holds a lease, or None."""
    if not path.is_file():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read().strip() or 0)
    return None


@contextlib.contextmanager
def lease(path: Path, what: str = "controller", waits: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a project's lease; a crash gives it back, a second holder is refused, or `waits` and is told for whom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _locked(file):
            file.seek(0)
            other = f"{what} (process {file.read().strip() or 'unknown'})"
            if waits is None:
                raise BusyError(f"another {other} runs this project: stop it first")
            waits(f"waiting for {other}")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _locked(file: IO[str]) -> bool:
    """Lock a lease's file; tried for half a second, since somebody may only be looking who holds it."""
    for _ in range(25):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False
