from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import RequestError
from everloop.serving.body import DisconnectedError, Message, Receive, discard, read_body


def arriving(chunks: Sequence[bytes], then: Message | None = None) -> tuple[Receive, list[int]]:
    """Return a `receive` that yields the chunks, and the list of what it was asked for."""
    messages: list[Message] = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    messages.append(then or {"type": "http.request", "body": b"", "more_body": False})
    taken: list[int] = []

    async def receive() -> Message:
        taken.append(len(taken))
        return messages[taken[-1]]

    return receive, taken


@given(st.lists(st.binary(max_size=8), max_size=6), st.integers(0, 40))
def test_a_body_comes_whole_or_is_too_large(chunks: list[bytes], limit: int) -> None:
    receive, taken = arriving(chunks)
    whole = b"".join(chunks)
    if len(whole) <= limit:
        assert asyncio.run(read_body(receive, None, limit)) == whole
        return
    with pytest.raises(RequestError) as caught:
        asyncio.run(read_body(receive, None, limit))
    assert caught.value.http_status == 413
    assert sum(len(chunks[i]) for i in taken[:-1]) <= limit  # no chunk is taken after the one too many


def test_a_body_that_announces_too_much_is_not_read() -> None:
    receive, taken = arriving([b"x" * 50])
    with pytest.raises(RequestError, match="larger than 10 bytes"):
        asyncio.run(read_body(receive, "11", 10))
    assert taken == []


@pytest.mark.parametrize("chunks", [[], [b"abc"]])
def test_a_caller_that_goes_away_is_not_answered(chunks: list[bytes]) -> None:
    receive, _ = arriving(chunks, {"type": "http.disconnect"})
    with pytest.raises(DisconnectedError):
        asyncio.run(read_body(receive, None, 10))


def test_what_still_arrives_is_thrown_away() -> None:
    receive, taken = arriving([b"x" * 10] * 5)
    asyncio.run(discard(receive))
    assert len(taken) == 6
