"""One of the project's sources: what is new there becomes a version; the pull itself tells the trigger, once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from everloop.errors import DataError
from everloop.loop.leash import leashed
from everloop.loop.pulling import pull
from everloop.loop.sensors.sensor import Noticed
from everloop.loop.workspace import Workspace

__all__ = ["ApartSensor", "SourceSensor"]


class SourceSensor:
    """Pulls one source; it needs no cursor here, since the pull keeps its own."""

    def __init__(self, workspace: Workspace, source: str, every: float) -> None:
        self._workspace, self._source = workspace, source
        self.name, self.every = f"pull:{source}", every

    def look(self, cursor: dict[str, Any], now: float) -> Noticed:
        """Pull once; raises `DataError` for a batch that was refused, which is told and not tried again."""
        found = pull(self._workspace, self._source, now)
        if found.refused:
            raise DataError(found.refused, kept=found.quarantined)
        return Noticed(cursor)


class ApartSensor:
    """Pulls one source by `everloop data pull` in a process of its own, one pull at a time; no look waits for it."""

    every = 0.0

    def __init__(self, workspace: Workspace, source: str, every: float) -> None:
        self.name = f"pull:{source}"
        pull = ("data", "pull", "--source", source, "--project", str(workspace.folder), "--json")
        self._command = leashed((sys.executable, "-m", "everloop.cli", *pull))
        self._every, self._began, self._told = every, float("-inf"), ""
        self._running: _Running | None = None

    def look(self, cursor: dict[str, Any], now: float) -> Noticed:
        """Begin a pull where one is due, and tell what went wrong in the last one that ended."""
        if self._running and self._running.ended:
            self._told, self._running = self._running.wrong(), None
        if not self._running and not self._began <= now < self._began + self._every:
            self._began, self._running = now, _Running(self._command)
        return Noticed(cursor, told=self._told)

    def close(self) -> None:
        """Break off the pull that is under way; the next one finishes it."""
        if self._running:
            self._running.break_off()


class _Running:
    """A pull under way, and the files that it says things in."""

    def __init__(self, command: Sequence[str]) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="everloop-pull-")
        self._out, self._errors = (Path(self._place.name) / name for name in ("out", "errors"))
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wrong(self) -> str:
        """Return what a person should know of an ended pull: why it failed, or why its batch was refused."""
        with self._place:
            try:
                [found] = msgspec.json.decode(self._out.read_bytes(), type=list[dict[str, Any]])
            except (msgspec.DecodeError, ValueError):
                last = self._errors.read_text(errors="replace").strip().rpartition("\n")[2]
                return f"the pull ended with exit code {self._process.returncode}: {last or 'it said nothing'}"
        return str(found.get("error") or found.get("refused") or "")

    def break_off(self) -> None:
        with self._place:
            self._process.terminate()
            self._process.wait()
