"""SQL beyond the contract: queries as they are written, types, rows that come late, what is never written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.databases import new_database, postgresql_server

from everloop.data.sources.opening import opened_source
from everloop.data.staging import Staged
from everloop.errors import CheckError, SystemError_, UsageError
from everloop.settings import Source


def take(place: Path, **keys: Any) -> list[dict[str, Any]]:
    """Return all rows that were pulled so far."""
    staged = Staged(place / "staged")
    with opened_source(msgspec.convert(keys, Source), "shop", "toy", place, {}) as source:
        for chunk in source.read(staged.cursor, 1000):
            staged.add(chunk.rows, chunk.cursor)
    return [*staged.all()]


def sqlite(place: Path, *statements: str) -> str:
    engine = sa.create_engine(f"sqlite:///{place}/shop.db", poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return "sqlite:///shop.db"


def test_a_query_is_taken_as_it_is_written(tmp_path: Path) -> None:
    url = sqlite(tmp_path, "CREATE TABLE sold (id INT, name TEXT)", "INSERT INTO sold VALUES (1, 'a:b'), (2, '5%')")
    query = "SELECT id, name, name LIKE '%:%' AS colon FROM sold WHERE name <> ':none';"
    found = take(tmp_path, url=url, query=query, cursor=["id"])
    assert found == [{"id": 1, "name": "a:b", "colon": 1}, {"id": 2, "name": "5%", "colon": 0}]
    sqlite(tmp_path, "INSERT INTO sold VALUES (3, ':none'), (4, 'x')")
    assert [row["id"] for row in take(tmp_path, url=url, query=query, cursor=["id"])] == [1, 2, 4]


@pytest.mark.parametrize(
    ("keys", "kind", "told"),
    [
        ({"table": "sold", "cursor": ["name"]}, CheckError, "two rows with name = a"),
        ({"table": "sold", "cursor": ["till"]}, CheckError, "a row without 'till'"),
        ({"table": "bought", "cursor": ["id"]}, SystemError_, "cannot be read: no such table: bought"),
        ({"query": "SELECT", "cursor": ["id"]}, SystemError_, "cannot be read: "),
        ({"table": "sold", "cursor": ["id"], "url": "sqlite:///no.db"}, UsageError, "there is no file"),
        (
            {"table": "sold", "cursor": ["id"], "url": "mysql://host/shop"},
            UsageError,
            "needs MySQLdb: pip install MySQLdb",
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    keys: dict[str, Any], kind: type[Exception], told: str, tmp_path: Path
) -> None:
    url = sqlite(tmp_path, "CREATE TABLE sold (id INT, name TEXT, till TEXT)",
                 "INSERT INTO sold VALUES (1, 'a', NULL), (2, 'a', '3')")  # fmt: skip
    with pytest.raises(kind, match=told) as caught:
        take(tmp_path, **({"url": url} | keys))
    assert str(caught.value).startswith("[data.sources.shop] ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "no.db").exists()


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql_server() as server:
        yield new_database(server)


def test_types_and_late_rows_of_postgresql(database: str, tmp_path: Path) -> None:
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    url = database.replace("postgresql+psycopg", "postgresql")
    keys = {"url": url, "table": "public.sold", "cursor": ["updated", "Id"], "overlap": "10m"}
    with engine.begin() as connection:
        connection.exec_driver_sql(
            'CREATE TABLE sold ("Id" uuid, updated timestamptz, price numeric(9, 2), x double precision, note jsonb)'
        )

    def put(number: int, minute: int, x: str = "0.1") -> None:
        id = f"00000000-0000-0000-0000-{number:012}"
        with engine.begin() as connection:
            values = f"('{id}', '2024-01-01 12:{minute:02}+02', 1.10, '{x}', '{{\"a\": 1}}')"
            connection.exec_driver_sql(f"INSERT INTO sold VALUES {values}")

    put(1, 0)
    put(2, 30, "Infinity")
    first, second = take(tmp_path, **keys)
    assert (first["price"], first["x"], first["note"], second["x"]) == (1.1, 0.1, {"a": 1}, "inf")
    assert first["updated"].startswith("2024-01-01T")
    put(3, 25)  # a transaction that took longer
    put(4, 30)
    put(5, 10)  # too late
    assert [row["Id"][-1] for row in take(tmp_path, **keys)] == ["1", "2", "3", "4"]
    assert len(take(tmp_path, **keys)) == 4
    engine.dispose()


def test_nothing_is_written(database: str, tmp_path: Path) -> None:
    url = database.replace("postgresql+psycopg", "postgresql")
    query = "SELECT nextval('numbers') AS id"
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE numbers")
    engine.dispose()
    with pytest.raises(SystemError_, match="cannot be read: cannot execute nextval"):
        take(tmp_path, url=url, query=query, cursor=["id"])
