"""A table or a query of an SQL database, through SQLAlchemy; nothing is ever written to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from everloop.data.sources.newest import Newest
from everloop.data.sources.source import Chunk, Cursor, Given, Row
from everloop.errors import UsageError
from everloop.settings import Source

__all__ = ["SqlSource", "make"]

CHUNK = 10_000


def make(settings: Source, given: Given) -> SqlSource:
    """Return the source; a relative SQLite file lies in `folder`."""
    url = sa.make_url(settings.url)
    url = url.set(
        username=given.secrets.fill(url.username) if url.username else None,
        password=given.secrets.fill(str(url.password)) if url.password else None,
        host=given.secrets.fill(url.host) if url.host else None,
        database=given.secrets.fill(url.database) if url.database else None,
    )
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        path = given.folder / (url.database or "")
        if not path.is_file():
            raise UsageError(f"url: there is no file {path}")
        url = url.set(database=str(path))
    return SqlSource(url, settings)


class SqlSource:
    """Rows in the order of the cursor's columns, streamed; what comes while it is read comes with the next pull."""

    def __init__(self, url: sa.URL, settings: Source) -> None:
        self._url, self._settings = url, settings

    def read(self, cursor: Cursor, limit: int) -> Iterator[Chunk]:
        """Yield the rows behind the newest one that was read, and late ones within `overlap`."""
        newest = Newest(self._settings.cursor, self._settings.overlap, cursor)
        engine, left = sa.create_engine(self._url, poolclass=sa.NullPool), limit
        try:
            with engine.connect().execution_options(stream_results=True, max_row_buffer=CHUNK) as connection:
                if engine.dialect.name == "postgresql":
                    connection = connection.execution_options(postgresql_readonly=True)
                with connection.execute(self._query(newest)) as found:
                    for rows in found.mappings().partitions(CHUNK):
                        new = list(newest.take(map(dict, rows), ordered=True))
                        if len(new) > left:  # begin again where the limit is: who lies behind it was not read
                            newest = Newest(self._settings.cursor, self._settings.overlap, cursor)
                            new = list(newest.take(new[:left], ordered=True))
                        left, cursor = left - len(new), newest.cursor
                        yield Chunk([_plain(row) for row in new], cursor)
                        if left <= 0:
                            return
                yield Chunk([], newest.cursor)
        finally:
            engine.dispose()

    def _query(self, newest: Newest) -> sa.Select[Any]:
        columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in self._settings.cursor]
        if self._settings.query:
            query = sa.text(self._settings.query.strip().rstrip(";").replace(":", r"\:"))
            source: sa.FromClause = query.columns(*columns).subquery("source")
        else:
            schema, _, table = self._settings.table.rpartition(".")
            source = sa.table(table, *columns, schema=schema or None)
        order = [source.c[name] for name in self._settings.cursor]
        found = sa.select(sa.text("*")).select_from(source).order_by(*order)
        return found.where(sa.or_(order[0] >= newest.start, order[0].is_(None))) if newest.known else found


def _plain(row: Row) -> Row:
    """Return a row whose numbers JSON can hold: what is infinite is told as text, and refused by the schema."""
    for name, value in row.items():
        if value.__class__ is float and not math.isfinite(value):
            row[name] = None if math.isnan(value) else str(value)
    return row
