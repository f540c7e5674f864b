"""TensorBoard: an event file for each finished retraining."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from everloop.shippers.outbox import Entry, UnreachableError
from everloop.tracking import RunRecord, write_events

__all__ = ["TensorBoardTarget"]


class TensorBoardTarget:
    """Writes event files into a folder that `tensorboard --logdir` reads."""

    kinds = frozenset({"run"})

    def __init__(self, folder: Path, read: Callable[[str], RunRecord | None]) -> None:
        """`read` returns what a run records."""
        self._folder, self._read = folder, read

    def take(self, entry: Entry) -> None:
        """Write the event file of a run that has finished."""
        finished = entry.payload["status"] == "finished" and entry.payload["pipeline"] == "retrain"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if finished and (record := self._read(entry.payload["id"])):
                write_events(self._folder, record)
        except OSError as error:
            raise UnreachableError(f"{self._folder} cannot be written: {error.strerror or error}") from error
