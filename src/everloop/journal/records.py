"""One journal record: a line of JSON, covered by a salted digest.

The digest is over salt, kind, id, time and payload. The chain needs only digests, so a person's payload can be
erased together with its salt and the chain still verifies; without the salt nobody can guess the payload from
the digest.
"""

from __future__ import annotations

import hashlib
import math
import os
from typing import Any, TypeVar

import msgspec

from everloop.errors import JournalError

__all__ = ["Record", "decode", "decode_lines", "encode", "erase", "line", "whole_line"]

T = TypeVar("T")

NO_SALT = "0" * 32
SALT, PAYLOAD = b',"salt":"', b',"payload":'
_HEAD, _BODY = b'"kind":%b,"id":%b,"time":%b', b',"salt":"%b","digest":"%b","payload":%b}\n'


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
        if self.erased:
            raise JournalError(f"journal record {self.number}: its payload was erased")
        try:
            return msgspec.json.decode(self.payload, type=type)
        except msgspec.MsgspecError as error:
            raise JournalError(f"journal record {self.number}: its payload is no {type.__name__}: {error}") from error

    @property
    def erased(self) -> bool:
        return self.salt == NO_SALT and bytes(self.payload) == b"null"

    def verify(self) -> bool:
        """Return whether the record is the one that was digested; an erased one cannot be."""
        return self.digest in (self.digested(self.head), self.digested())

    @property
    def head(self) -> bytes:
        """Kind, id and time as they stand in the line."""
        return _HEAD % (_quote(self.kind), _quote(self.id), _quote(self.time))

    def digested(self, head: bytes = b"") -> str:
        """Return the digest over salt, head and payload; without a head it is that of earlier versions."""
        try:
            salt = bytes.fromhex(self.salt)
        except ValueError:
            return ""
        return _digest(salt, head, bytes(self.payload)) if salt.hex() == self.salt else ""


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
        head = _HEAD % (_quote(kind), _quote(id), _quote(time))
    except (msgspec.MsgspecError, ValueError) as error:
        raise JournalError(f"the record {id!r} ({kind}) cannot be journalled: {error}") from error
    return head + _BODY % (salt.hex().encode(), _digest(salt, head, payload).encode(), payload)


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


def decode_lines(lines: bytes) -> list[Record]:
    """Return the records of whole lines in one go: cheaper a record than `decode`; raises `JournalError`."""
    try:
        return _decoder.decode_lines(lines)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise JournalError(f"journal: a line cannot be read: {error}; restore the segment from a copy") from error


def whole_line(record: Record, head: bytes, length: int) -> bytes:
    """Return the one line of that length in which the writer, or an erasure, leaves a record."""
    payload = b"null" if record.erased else bytes(record.payload)
    body = _BODY % (record.salt.encode(), record.digest.encode(), payload)
    written = line(record.number, head + body)
    return written[:-2] + b" " * (length - len(written)) + b"}\n" if record.erased else written


def erase(written: bytes) -> bytes:
    """Return a line without its payload and salt: as long as before, so that no position behind it changes.

    It needs only what stays, so the line may be one in which an erasure was cut off.
    """
    salt = written.index(SALT) + len(SALT)  # no text before it can hold these quotes
    digest = written.index(PAYLOAD, salt) + len(PAYLOAD)
    room = len(written) - digest - len(b"null}\n")
    if room < 0:
        raise JournalError("a record whose payload is shorter than null cannot be erased")
    return written[:salt] + NO_SALT.encode() + written[salt + 32 : digest] + b"null" + b" " * room + b"}\n"


def _digest(salt: bytes, head: bytes, payload: bytes) -> str:
    return hashlib.sha256(salt + head + b"\n" + payload if head else salt + payload).hexdigest()
