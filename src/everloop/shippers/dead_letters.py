"""What a system will never take, kept in a file: a line of JSON each, with the reason."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from everloop.errors import SystemError_
from everloop.shippers.documents import Document

__all__ = ["DeadLetters", "Letter"]


class Letter(msgspec.Struct, frozen=True):
    """One document, and why it was refused."""

    index: str
    id: str
    reason: str
    document: msgspec.Raw


class DeadLetters:
    """A file of letters that one process at a time appends to; each id stands in it once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids: set[str] = set()
        self._read = 0

    def ids(self) -> set[str]:
        """Return the ids of all letters; a line that a crash cut off is removed."""
        try:
            if not self._path.exists():
                self._ids, self._read = set(), 0
                return self._ids
            if self._path.stat().st_size != self._read:
                self._load()
        except (OSError, msgspec.MsgspecError) as error:
            raise SystemError_(f"the dead letters {self._path} cannot be read: {error}; move the file away") from error
        return self._ids

    def append(self, dead: Sequence[tuple[Document, str]]) -> None:
        """Keep documents, durably."""
        known = self.ids()
        letters = [Letter(d.index, d.id, reason, msgspec.Raw(d.body)) for d, reason in dead if d.id not in known]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"".join(msgspec.json.encode(letter) + b"\n" for letter in letters))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SystemError_(f"the dead letters {self._path} cannot be written: {error.strerror}") from error

    def _load(self) -> None:
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self._path, len(whole))
        self._ids = {msgspec.json.decode(line, type=Letter).id for line in whole.splitlines()}
        self._read = len(whole)
