from __future__ import annotations

from collections.abc import Iterator

import pytest

from everloop.loop.commands import finish, post, result, waiting
from everloop.store import Store
from everloop.types import Event


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store("sqlite://")
    yield store
    store.close()


def test_events_wait_in_the_order_of_time_until_they_are_finished(store: Store) -> None:
    late, early = Event("b", "go", "test", 2.0, data={"n": 1}), Event("a", "go", "test", 1.0)
    for event in (late, early, Event("c", "other", "test", 0.0)):
        post(store, event)
    assert waiting(store, "go") == [early, late]
    finish(store, "a", {"done": True})
    assert waiting(store, "go") == [late]
    assert (result(store, "a"), result(store, "b"), result(store, "unknown")) == ({"done": True}, None, None)


def test_an_event_posted_twice_is_one_event(store: Store) -> None:
    event = Event("a", "go", "test", 1.0)
    post(store, event)
    finish(store, "a", {"done": 1})
    post(store, event)
    assert waiting(store, "go") == []
    assert result(store, "a") == {"done": 1}
