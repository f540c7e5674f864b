from __future__ import annotations

from collections.abc import Iterator

import pytest

from everloop.data import list_versions, record
from everloop.data.versions import get
from everloop.errors import NotFoundError
from everloop.store import Connection, Store


@pytest.fixture
def connection() -> Iterator[Connection]:
    store = Store("sqlite://")
    with store.begin() as connection:
        yield connection
    store.close()


def add(connection: Connection, artifact: str, time: float = 1.0) -> str:
    return record(connection, artifact=artifact, rows=10, start=0.0, end=9.0, origin="file", time=time)


def test_versions_count_from_one_and_name_the_one_before(connection: Connection) -> None:
    ids = [add(connection, f"artifact {n}") for n in range(12)]
    assert ids == [f"data-{n}" for n in range(1, 13)]
    assert [v["id"] for v in list_versions(connection)] == ids
    assert [v["parent"] for v in list_versions(connection)] == [None, *ids[:-1]]


def test_equal_content_keeps_its_id(connection: Connection) -> None:
    first = add(connection, "a")
    add(connection, "b")
    assert add(connection, "a", time=5.0) == first
    assert get(connection, first) == {
        "id": "data-1", "artifact": "a", "rows": 10, "start": 0.0, "end": 9.0, "parent": None, "origin": "file",
        "created": 1.0,
    }  # fmt: skip


def test_an_unknown_version_is_refused_with_a_close_match(connection: Connection) -> None:
    add(connection, "a")
    with pytest.raises(NotFoundError, match=r"no data version 'data1' \(did you mean 'data-1'\?\)"):
        get(connection, "data1")
