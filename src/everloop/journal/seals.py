"""Signed statements about a journal, one line each: what its chain was, what was erased, what was dropped."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from everloop.bundles import PublicKey, SigningKey
from everloop.errors import CheckError, JournalError
from everloop.journal.chain import Tip
from everloop.journal.segments import make, repair, sync

__all__ = ["Checkpoint", "Dropped", "Erasure", "Place", "Seals", "add", "alone", "read"]

FILE = "seals.jsonl"
DOMAIN = b"everloop journal seal\n"


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What all of them hold: when it was made, the SHA-256 of the statement before it, who signed it."""

    time: float
    previous: str = ""
    key: str = ""
    signature: str = ""


class Checkpoint(Statement, frozen=True, tag="checkpoint"):
    """The chain's value behind a record."""

    tip: Tip


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a record lies."""

    number: int
    segment: int
    offset: int
    length: int


class Erasure(Statement, frozen=True, tag="erasure"):
    """The records whose payloads were erased, and why; no person is named."""

    reason: str
    ids: int
    places: list[Place]


class Dropped(Statement, frozen=True, tag="dropped"):
    """The tip behind the last record that retention dropped; its segment and all before it are gone."""

    tip: Tip
    before: float


AnyStatement = Checkpoint | Erasure | Dropped
_decode = msgspec.json.Decoder(AnyStatement).decode
_encode = msgspec.json.encode


class Seals(msgspec.Struct):
    """All statements about a journal, each signed by a trusted key, in their order."""

    statements: list[AnyStatement] = []

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The seals proper, oldest first."""
        return [s for s in self.statements if isinstance(s, Checkpoint)]

    @property
    def start(self) -> Tip:
        """Where the chain begins: behind what was dropped last."""
        return max((s.tip for s in self.statements if isinstance(s, Dropped)), key=_number, default=Tip())

    @property
    def newest(self) -> Tip:
        """How far the chain was signed."""
        return max((self.start, *self.marks.values()), key=_number)

    @property
    def marks(self) -> dict[int, Tip]:
        """The sealed tips that still lie in the journal, by their record's number."""
        start = self.start.number
        return {s.tip.number: s.tip for s in self.checkpoints if s.tip.number > start}

    @property
    def erased(self) -> dict[int, Place]:
        """The records whose payloads are gone, by number; of those that were dropped since, too."""
        return {place.number: place for s in self.statements if isinstance(s, Erasure) for place in s.places}


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make statements or act on them; ends with the process."""
    make(folder)
    descriptor = os.open(folder / "seals.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(folder: Path, keys: Sequence[PublicKey]) -> Seals:
    """Return the statements about a journal; raises `CheckError` for one that is not as it was signed."""
    known, seals, previous = {key.id: key for key in keys}, Seals(), b""
    for number, line in enumerate(_lines(folder), 1):
        where = f"{folder / FILE}, line {number}"
        try:
            statement = _decode(line)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CheckError(f"{where} is no seal ({error}): restore the file from a copy") from error
        if _encode(statement) != line:
            raise CheckError(f"{where} is not in the form in which it was written: restore the file from a copy")
        if statement.previous != _hash(previous):
            raise CheckError(f"{where} does not follow the line before it: one was removed, moved or changed")
        if statement.key not in known:
            raise CheckError(f"{where} was signed by the key {statement.key!r}, which is not trusted here")
        if not known[statement.key].verifies(_bytes(statement.signature), _signed(statement)):
            raise CheckError(f"{where} was changed: its signature is not that of key {statement.key}")
        seals.statements.append(statement)
        previous = line
    return seals


def add(folder: Path, key: SigningKey, statement: AnyStatement) -> None:
    """Sign a statement and put it on the disk behind the others; the caller is `alone`."""
    path = folder / FILE
    try:
        before = _lines(folder)
        if path.exists():
            repair(path)
        linked = msgspec.structs.replace(statement, previous=_hash(before[-1] if before else b""), key=key.public.id)
        signed = msgspec.structs.replace(linked, signature=key.sign(_signed(linked)).hex())
        with path.open("ab") as file:
            file.write(_encode(signed) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync(folder)
    except OSError as error:
        raise JournalError(f"the seal {path} cannot be written: {error.strerror}") from error


def _lines(folder: Path) -> list[bytes]:
    """Return the whole lines of the file; a last one without its end was never finished."""
    try:
        return (folder / FILE).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"the seals {folder / FILE} cannot be read: {error.strerror}") from error


def _signed(statement: AnyStatement) -> bytes:
    return DOMAIN + _encode(msgspec.structs.replace(statement, signature=""))


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest() if line else ""


def _bytes(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return b""
    return found if found.hex() == text else b""


def _number(tip: Tip) -> int:
    return tip.number
