"""One journal record: a line of JSON, its payload covered by a salted digest.

The digest is over salt and payload, not the payload alone: a later hash chain needs only digests, so a
person's payload can be erased (null) and the chain still verifies, and nobody can guess an erased payload
from its digest.
"""

from __future__ import annotations

import hashlib
import math
import os
from typing import Any, TypeVar

import msgspec

from everloop.errors import JournalError

__all__ = ["Record", "decode", "encode", "line"]

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True):
    """One line. `number` counts without gaps from 1; `time` is event time; `payload` is null once erased."""

    number: int = msgspec.field(name="n")
    kind: str = msgspec.field(name="kind")
    id: str = msgspec.field(name="id")
    time: float = msgspec.field(name="time")
    salt: str = msgspec.field(name="salt")
    digest: str = msgspec.field(name="digest")
    payload: msgspec.Raw = msgspec.field(name="payload")

    def read(self, type: type[T]) -> T:
        """Return the payload as a struct of that type."""
        try:
            return msgspec.json.decode(self.payload, type=type)
        except msgspec.MsgspecError as error:
            raise JournalError(f"journal record {self.number}: its payload is no {type.__name__}: {error}") from error

    def verify(self) -> bool:
        """Return whether the payload is the one that was digested; an erased one cannot be."""
        try:
            salt = bytes.fromhex(self.salt)
        except ValueError:
            return False
        return _digest(salt, bytes(self.payload)) == self.digest


_decoder = msgspec.json.Decoder(Record)
_checked = msgspec.json.Decoder(msgspec.Raw).decode
_quote = msgspec.json.Encoder().encode


def encode(kind: str, id: str, time: float, payload: bytes, salt: bytes | None = None) -> bytes:
    """Return a record but for its number (`line` adds it); raises `JournalError` for one that no reader could read.

    `payload` is JSON already, on one line.
    """
    salt = salt or os.urandom(16)
    try:
        _checked(payload)
        if b"\n" in payload or not math.isfinite(time):
            raise ValueError(f"its time is {time}" if not math.isfinite(time) else "its payload has two lines")
        return b'"kind":%b,"id":%b,"time":%b,"salt":"%b","digest":"%b","payload":%b}\n' % (
            _quote(kind),
            _quote(id),
            _quote(time),
            salt.hex().encode(),
            _digest(salt, payload).encode(),
            payload,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise JournalError(f"the record {id!r} ({kind}) cannot be journalled: {error}") from error


def line(number: int, encoded: bytes) -> bytes:
    """Return the line of a record that `encode` made."""
    return b'{"n":%d,%b' % (number, encoded)


def decode(line: bytes, where: Any = "") -> Record:
    """Return the record of one line."""
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise JournalError(
            f"journal {where}: a line cannot be read: {error}; restore the segment from a copy"
        ) from error


def _digest(salt: bytes, payload: bytes) -> str:
    return hashlib.sha256(salt + payload).hexdigest()
