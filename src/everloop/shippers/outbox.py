"""A reader of the store's outbox: entries in their order from a durable offset, which only its own commit moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from everloop import store
from everloop.errors import SystemError_, UsageError
from everloop.store import Store

__all__ = ["Entry", "Outbox", "RefusedError", "Target", "UnreachableError", "drain"]


class UnreachableError(SystemError_):
    """The other system does not answer now: the same entry again later may work."""


class RefusedError(UsageError):
    """The other system will never take this entry."""


class Entry(msgspec.Struct, frozen=True):
    """One change that the store told."""

    id: int
    kind: str
    time: float
    payload: dict[str, Any]


class Target(Protocol):
    """A system that is brought up to date."""

    kinds: frozenset[str]
    """The kinds of entries that it cares for."""

    def take(self, entry: Entry) -> None:
        """Bring one change there; once more does no harm. Raises `UnreachableError` or `RefusedError`."""


class Outbox:
    """Reads the outbox under a name; two readers of one name go on behind each other."""

    def __init__(self, target: Store, name: str) -> None:
        self.name = name
        self._store, self._name = target, f"outbox {name}"[:255]
        self.position = self.committed()

    def poll(self, limit: int = 1000, kinds: frozenset[str] = frozenset()) -> list[Entry]:
        """Return up to `limit` entries (of these kinds) that follow the position, and move it behind them."""
        query = self._news(kinds).with_only_columns(store.outbox).order_by(store.outbox.c.id).limit(limit)
        entries = [Entry(**row) for row in self._store.rows(query)]
        self.position = max([self.position, *(entry.id for entry in entries)])
        return entries

    def waiting(self, kinds: frozenset[str] = frozenset(), end: int | None = None) -> int:
        """Return how many entries (of these kinds, up to the `end`) follow the committed position."""
        self.rewind()
        query = self._news(kinds).with_only_columns(sa.func.count().label("n"))
        query = query if end is None else query.where(store.outbox.c.id <= end)
        return int(self._store.rows(query)[0]["n"])

    def commit(self) -> None:
        """Make the position durable: a restart goes on behind the entries polled so far."""
        where = store.state.c.name == self._name
        with self._store.begin() as connection:
            if connection.execute(store.state.update().where(where).values(value=self.position)).rowcount == 0:
                connection.execute(store.state.insert().values(name=self._name, value=self.position))

    def rewind(self) -> None:
        """Go back to the last commit."""
        self.position = self.committed()

    def restart(self) -> None:
        """Go back to the first entry, durably: the other system has lost what it had."""
        self.position = 0
        self.commit()

    def committed(self) -> int:
        """Return the durable position."""
        rows = self._store.rows(sa.select(store.state.c.value).where(store.state.c.name == self._name))
        return int(rows[0]["value"]) if rows else 0

    def _news(self, kinds: frozenset[str]) -> sa.Select[Any]:
        query = sa.select(store.outbox).where(store.outbox.c.id > self.position)
        return query.where(store.outbox.c.kind.in_(sorted(kinds))) if kinds else query


def drain(
    outbox: Outbox, target: Target, on_refused: Callable[[Entry, RefusedError], None], limit: int | None = None
) -> int:
    """Bring all entries (at most `limit`) there, each committed before the next; returns how many.

    An entry that is refused for ever is told and passed by. Raises `UnreachableError`, with the offset before the
    entry that was not taken.
    """
    count = 0
    while (limit is None or count < limit) and (entries := outbox.poll(1, target.kinds)):
        try:
            target.take(entries[0])
        except RefusedError as error:
            on_refused(entries[0], error)
        except BaseException:
            outbox.rewind()
            raise
        outbox.commit()
        count += 1
    return count
