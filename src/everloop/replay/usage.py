"""What a run costs: CPU seconds and memory over this process and all that it started."""

from __future__ import annotations

import contextlib
import resource
import threading
import time

import psutil

__all__ = ["Usage"]


class Usage:
    """Measures `wall_seconds` and `peak_memory_mib` from `with` on, `cpu_seconds` since this process started.

    CPU seconds include imports and all finished children. Memory is the sum of the resident sets, sampled four
    times a second: shared pages count in each process.
    """

    def __enter__(self) -> Usage:
        self._begun, self._peak = time.monotonic(), 0.0
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
        this = psutil.Process()
        while True:
            total = 0
            for process in [this, *this.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
            self._peak = max(self._peak, total)
            if self._stop.wait(0.25):
                return


def _cpu() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
