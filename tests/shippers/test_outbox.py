from __future__ import annotations

from collections.abc import Iterator

import pytest

from everloop import store as tables
from everloop.shippers import Entry, Outbox, RefusedError, UnreachableError, drain
from everloop.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store("sqlite://")
    with store.begin() as connection:
        for n in range(1, 7):
            row = {"kind": "odd" if n % 2 else "even", "time": float(n), "payload": {"n": n}}
            connection.execute(tables.outbox.insert().values(**row))
    yield store
    store.close()


class Taker:
    kinds = frozenset({"odd"})

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.raises: dict[int, Exception] = {}

    def take(self, entry: Entry) -> None:
        if error := self.raises.pop(entry.id, None):
            raise error
        self.taken.append(entry.id)


def ignore(_entry: Entry, _error: RefusedError) -> None:
    """Nobody asks."""


def test_only_a_commit_moves_the_offset(store: Store) -> None:
    outbox = Outbox(store, "one")
    assert [e.id for e in outbox.poll(2)] == [1, 2]
    assert [e.payload["n"] for e in outbox.poll(2)] == [3, 4]
    assert [e.id for e in Outbox(store, "one").poll(1)] == [1]
    outbox.commit()
    assert [e.id for e in Outbox(store, "one").poll()] == [5, 6]
    assert [e.id for e in Outbox(store, "another").poll(1)] == [1]
    outbox.poll()
    outbox.rewind()
    assert outbox.waiting() == 2
    outbox.restart()
    assert (outbox.waiting(), outbox.waiting(frozenset({"odd"})), outbox.waiting(end=4)) == (6, 3, 4)


def test_each_entry_is_taken_once_in_order(store: Store) -> None:
    taker = Taker()
    assert drain(Outbox(store, "t"), taker, ignore) == 3
    assert drain(Outbox(store, "t"), taker, ignore) == 0
    assert taker.taken == [1, 3, 5]


def test_it_stops_where_the_target_does_not_answer_and_goes_on_there(store: Store) -> None:
    taker, outbox = Taker(), Outbox(store, "t")
    taker.raises[3] = UnreachableError("down")
    with pytest.raises(UnreachableError, match="down"):
        drain(outbox, taker, ignore)
    assert outbox.waiting(taker.kinds) == 2
    drain(outbox, taker, ignore)
    assert taker.taken == [1, 3, 5]


def test_what_is_refused_for_ever_is_told_and_passed_by(store: Store) -> None:
    taker, told = Taker(), list[str]()
    taker.raises[3] = RefusedError("no such name")
    drain(Outbox(store, "t"), taker, lambda entry, error: told.append(f"{entry.id} {error}"))
    assert (taker.taken, told) == ([1, 5], ["3 no such name"])
