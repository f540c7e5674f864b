"""Documents by the bulk API: what is sent twice is there once, what is refused for ever is kept aside.

Each document has an id of its own and an index by the month of its event time, so that a repetition meets the first.
An index that rolls over by size would not do: the same id may stand in two of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from everloop.errors import SystemError_
from everloop.shippers.dead_letters import DeadLetters
from everloop.shippers.documents import Document, document_of
from everloop.shippers.outbox import Entry, RefusedError, UnreachableError
from everloop.shippers.search_clients import AnswerError, SearchClient

__all__ = ["Bulk", "ElasticTarget"]

FIRST, LONGEST, ATTEMPTS = 0.5, 10.0, 5
BYTES, COUNT = 5_000_000, 2000
LATER = {408, 429, 500, 502, 503, 504}
"""Statuses that time mends."""
PERSON = {401, 403, 404, 407}
"""Statuses that a person mends: a key, a right, an index that may not be made."""


class _BusyError(SystemError_):
    """The server may take the same chunk a little later."""


class _TooLargeError(SystemError_):
    """The server takes no body of this size."""


class ElasticTarget:
    """Sends decisions, rollouts, runs, versions and aliases, a document a change."""

    kinds = frozenset({"decision", "rollout", "run", "model_version", "alias"})

    def __init__(self, bulk: Bulk, index: str, project: str) -> None:
        self._bulk, self._index, self._project = bulk, index, project

    def take(self, entry: Entry) -> None:
        """Send one change; once more does no harm."""
        if dead := self._bulk.send([document_of(entry, self._index, self._project)]):
            raise RefusedError(f"it is refused: {dead[0][1]}")


class Bulk:
    """Sends documents in chunks that are bounded by bytes and count."""

    def __init__(
        self,
        client: SearchClient,
        wait: Callable[[float], None] = time.sleep,
        size: int = BYTES,
        count: int = COUNT,
        letters: DeadLetters | None = None,
    ) -> None:
        """Documents that are refused for ever go to `letters`, once all others of their batch are there."""
        self._client, self._wait, self._letters = client, wait, letters
        self._size, self._count = size, count

    def send(self, documents: Iterable[Document]) -> list[tuple[Document, str]]:
        """Return the documents that the server will never take, with its reasons; all others are there.

        Raises `UnreachableError` when it comes no further; then the same documents may be sent again.
        """
        known = self._letters.ids() if self._letters else frozenset()
        queue = deque(_chunks([d for d in documents if d.id not in known], self._size, self._count))
        dead: list[tuple[Document, str]] = []
        failures = 0
        while queue:
            chunk, why = queue.popleft(), "it is busy"
            try:
                left, why = self._offer(chunk, dead)
            except _BusyError as error:
                left, why = chunk, str(error)
            except _TooLargeError as error:
                _split(chunk, queue, dead, str(error))
                continue
            failures = 0 if len(left) < len(chunk) else failures + 1
            if failures == ATTEMPTS:
                raise self._stuck(why)
            if left:
                queue.appendleft(left)
                self._wait(min(LONGEST, FIRST * 2 ** max(0, failures - 1)))
        if self._letters and dead:
            self._letters.append(dead)
        return dead

    def keep(self, document: Document, reason: str) -> None:
        """Keep a document that cannot be sent."""
        if self._letters:
            self._letters.append([(document, reason)])

    def _offer(self, chunk: list[Document], dead: list[tuple[Document, str]]) -> tuple[list[Document], str]:
        """Send one chunk; return what it did not take yet, and why."""
        answer = self._request(chunk)
        items = [item["create"] for item in answer["items"]]
        if len(items) != len(chunk):
            raise _BusyError(f"it answered {len(items)} of {len(chunk)} documents")
        left, why, refused = [], "", []
        for document, item in zip(chunk, items, strict=True):
            status = item["status"]
            if status < 300 or status == 409:
                continue
            told = _reason(item)
            if status in PERSON:
                raise self._stuck(told)
            if status in LATER:
                left.append(document)
                why = told
            else:
                refused.append((document, told))
        dead += refused
        return left, why

    def _request(self, chunk: list[Document]) -> Any:
        lines = [part for d in chunk for part in (_action(d), d.body)]
        try:
            return self._client.bulk(lines)
        except AnswerError as error:
            if error.status == 413:
                raise _TooLargeError(f"413: a body of {sum(map(len, lines))} bytes is too large for it") from error
            if error.status is None or error.status in LATER:
                raise _BusyError(str(error)) from error
            raise self._stuck(str(error)) from error

    def _stuck(self, why: str) -> UnreachableError:
        return UnreachableError(f"{self._client.product} does not take documents: {why}")


def _chunks(documents: Sequence[Document], size: int, count: int) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    held = 0
    for document in documents:
        long = len(document.body) + len(_action(document)) + 2
        if chunk and (held + long > size or len(chunk) == count):
            yield chunk
            chunk, held = [], 0
        chunk.append(document)
        held += long
    if chunk:
        yield chunk


def _split(chunk: list[Document], queue: deque[list[Document]], dead: list[tuple[Document, str]], reason: str) -> None:
    half = len(chunk) // 2
    if half:
        queue.extendleft((chunk[half:], chunk[:half]))
    else:
        dead.append((chunk[0], reason))


def _action(document: Document) -> bytes:
    return msgspec.json.encode({"create": {"_index": document.index, "_id": document.id}})


def _reason(item: dict[str, Any]) -> str:
    error = item.get("error") or {}
    return f"{item['status']} {error.get('type', '')}: {error.get('reason', '')}".strip()
