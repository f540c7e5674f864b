"""Runs a command that ends when the process that asked for it is gone: `python -m everloop.loop.leash PARENT COMMAND`.

A supervisor that is killed leaves no server behind that would hold its port against the next one. Linux tells the
command with SIGTERM; elsewhere it lives on until it is stopped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["leashed"]

PR_SET_PDEATHSIG = 1


def leashed(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command line that runs `command` on this process's leash."""
    return (sys.executable, "-m", "everloop.loop.leash", str(os.getpid()), *command)


def _main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # it may have died before we asked
        os.execvp(command[0], command)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
