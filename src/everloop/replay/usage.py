"""What a run costs: CPU seconds and memory over this process and all that it started."""

from __future__ import annotations

import contextlib
import resource
import threading
import time
from collections.abc import Callable

import psutil

__all__ = ["Usage"]


class Usage:
    """Measures `wall_seconds` and `peak_memory_mib` from `with` on, `cpu_seconds` since this process started.

    CPU seconds include imports and all finished children. Memory is looked at four times a second, and told as of
    the moment at which the resident sets were largest; a page that processes share counts once there (Linux).
    """

    def __enter__(self) -> Usage:
        self._begun, self._peak = time.monotonic(), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="usage", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self) -> dict[str, float]:
        """Return the three figures as of now."""
        return {
            "wall_seconds": round(time.monotonic() - self._begun, 2),
            "cpu_seconds": round(_cpu(), 2),
            "peak_memory_mib": round(self._peak / 2**20, 1),
        }

    def _sample(self) -> None:
        this, largest = psutil.Process(), 0
        while True:
            family = [this, *this.children(recursive=True)]
            if (resident := _total(family, _resident)) > largest:
                largest, self._peak = resident, _total(family, _own)  # which costs milliseconds a process
            if self._stop.wait(0.25):
                return


def _total(family: list[psutil.Process], memory: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in family:
        with contextlib.suppress(psutil.Error):
            total += memory(process)
    return total


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def _own(process: psutil.Process) -> int:
    told = process.memory_full_info()
    return int(getattr(told, "pss", told.rss))


def _cpu() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
