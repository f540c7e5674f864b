"""`everloop` as a person runs it, in a process of its own: what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["everloop", "timed"]

EVERLOOP = (sys.executable, "-m", "everloop.cli")


def everloop(folder: Path, *words: str) -> None:
    """Run a verb in a folder; ends the benchmark where it fails."""
    done = subprocess.run([*EVERLOOP, *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"everloop {words[0]}: {done.stderr}")


def timed(folder: Path, *words: str) -> tuple[float, float, float]:
    """Return the seconds, the seconds of CPU and the largest memory (MiB) of a verb, children included."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen([*EVERLOOP, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
        told.seek(0)
        if status:
            raise SystemExit(f"everloop {words[0]}: {told.read()}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
