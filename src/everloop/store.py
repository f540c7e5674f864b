"""The one door to the SQL state: tables, transactions, the outbox. SQLite by default, PostgreSQL by URL.

Times are UTC event seconds. A row is written with its consequences in one transaction (`Store.begin`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, Column, Float, Integer, String, Table, Text
from sqlalchemy.engine import Connection, Engine

from everloop.errors import StoreError

__all__ = [
    "ELECTED",
    "Connection",
    "Store",
    "alias",
    "artifact",
    "data_version",
    "decision",
    "event",
    "execution",
    "link",
    "model_version",
    "outbox",
    "pipeline_version",
    "rollout",
    "run",
    "signal",
    "state",
    "usage",
]

SCHEMA = 1
WRITER = 0x65766572  # PostgreSQL's advisory lock, one a schema, that a writer holds until its transaction ends
ELECTED = 0x65766563  # the lock that an elected process holds for as long as its session lives
WAIT = 30  # seconds that a writer waits for the one before it
_metadata = sa.MetaData()


def _table(name: str, *columns: Column[Any] | sa.UniqueConstraint | sa.Index) -> Table:
    return Table(name, _metadata, *columns)


def _text(name: str, **how: Any) -> Column[Any]:
    return Column(name, String(255), **how)


run = _table(
    "run",
    _text("id", primary_key=True),
    _text("pipeline", nullable=False),
    _text("status", nullable=False),  # running | finished | failed
    Column("parameters", JSON, nullable=False),
    Column("started", Float, nullable=False),
    Column("finished", Float),
    _text("event", nullable=True),
    _text("decision", nullable=True),
    _text("commit", nullable=True),
    Column("error", Text),
)
execution = _table(
    "execution",
    Column("id", Integer, primary_key=True),
    _text("run", nullable=False, index=True),
    _text("step", nullable=False),
    _text("key", nullable=False, index=True),
    Column("key_parts", JSON, nullable=False),
    _text("status", nullable=False),  # running | finished | failed
    Column("cached_from", Integer),
    Column("started", Float, nullable=False),
    Column("finished", Float),
    Column("error", Text),
)
usage = _table(
    "usage",
    Column("execution", Integer, primary_key=True, autoincrement=False),
    Column("seconds", Float, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("peak_bytes", sa.BigInteger, nullable=False),
)
artifact = _table(
    "artifact",
    _text("id", primary_key=True),  # sha256 of the content
    _text("format", nullable=False),  # parquet | onnx | json | npz | file | folder
    Column("uri", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created", Float, nullable=False),
)
link = _table(
    "link",
    Column("id", Integer, primary_key=True),
    Column("execution", Integer, nullable=False, index=True),
    _text("artifact", nullable=False, index=True),
    _text("direction", nullable=False),  # input | output
    _text("name", nullable=False),
)
data_version = _table(
    "data_version",
    _text("id", primary_key=True),  # data-1, data-2, ...
    _text("artifact", nullable=False),
    Column("rows", Integer, nullable=False),
    Column("start", Float, nullable=False),
    Column("end", Float, nullable=False),
    _text("parent", nullable=True),
    _text("origin", nullable=False),
    Column("created", Float, nullable=False),
)
model_version = _table(
    "model_version",
    _text("id", primary_key=True),  # v1, v2, ...
    _text("model", nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("bundle", Text, nullable=False),
    _text("sha256", nullable=False),  # of model.onnx
    _text("run", nullable=False),
    _text("data_version", nullable=False),
    _text("commit", nullable=True),
    _text("stage", nullable=False),  # staged | candidate | production | archived | rejected
    Column("window", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("verdict", JSON),
    Column("created", Float, nullable=False),
    sa.UniqueConstraint("model", "number"),
)
alias = _table(
    "alias",
    _text("model", primary_key=True),
    _text("name", primary_key=True),  # champion | candidate
    _text("version", nullable=False),
    Column("verdict", JSON, nullable=False),
    Column("updated", Float, nullable=False),
)
event = _table(
    "event",
    _text("id", primary_key=True),
    _text("type", nullable=False),
    _text("source", nullable=False),
    _text("subject", nullable=False),
    Column("time", Float, nullable=False),
    Column("data", JSON, nullable=False),
    _text("status", nullable=False, index=True),  # new | done
    Column("result", JSON),
)
signal = _table(
    "signal",
    Column("id", Integer, primary_key=True),
    _text("name", nullable=False, index=True),
    Column("time", Float, nullable=False),
    Column("value", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("firing", Integer, nullable=False),
    Column("start", Float, nullable=False),
    Column("end", Float, nullable=False),
    Column("evidence", JSON, nullable=False),
)
decision = _table(
    "decision",
    _text("id", primary_key=True),  # d-1, d-2, ...
    Column("number", Integer, nullable=False, unique=True),
    Column("time", Float, nullable=False),
    _text("response", nullable=False),
    Column("reason", Text, nullable=False),
    Column("events", JSON, nullable=False),
    Column("evidence", JSON, nullable=False),
    _text("status", nullable=False),  # open | done | failed
    _text("run", nullable=True),
)
pipeline_version = _table(
    "pipeline_version",
    _text("id", primary_key=True),  # pipeline-1, pipeline-2, ...
    Column("number", Integer, nullable=False, unique=True),
    _text("commit", nullable=False),
    Column("dirty", Integer, nullable=False),
    Column("folder", Text, nullable=False),
    Column("python", Text),  # none: the one that runs Everloop
    Column("lock", JSON, nullable=False),
    _text("lock_hash", nullable=False),
    Column("built", Float, nullable=False),
    Column("tested", Float),
    Column("deployed", Float),
)
rollout = _table(
    "rollout",
    _text("id", primary_key=True),  # r-1, r-2, ...
    _text("decision", nullable=False),
    _text("champion", nullable=False),
    _text("candidate", nullable=False),
    _text("status", nullable=False, index=True),  # shadow | canary | promoted | rolled_back | expired
    Column("state", JSON, nullable=False),
    Column("verdict", JSON),
    Column("started", Float, nullable=False),
    Column("ended", Float),
)
outbox = _table(
    "outbox",
    Column("id", Integer, primary_key=True),
    _text("kind", nullable=False),
    Column("time", Float, nullable=False),
    Column("payload", JSON, nullable=False),
)
state = _table(
    "state",
    _text("name", primary_key=True),
    Column("value", JSON, nullable=False),
    Column("data", sa.LargeBinary),
)


class Store:
    """A database and its transactions; safe for several processes, and for threads that each open their own."""

    def __init__(self, url: str, folder: Path = Path()) -> None:
        """Open (and create where new) the database; a relative SQLite path lies in `folder`."""
        try:
            self.url = _absolute(os.path.expandvars(url), folder)
            self._engine = _engine(self.url)
        except ModuleNotFoundError as error:
            raise StoreError(f"the store needs {error.name!r}: install everloop[postgresql]") from error
        except (sa.exc.SQLAlchemyError, ValueError, OSError) as error:
            raise StoreError(f"the store {url.rpartition('@')[2]} cannot be opened: {_reason(error)}") from error
        try:
            with self._transaction() as connection:
                _metadata.create_all(connection)
                _check_schema(connection)
        except BaseException as error:
            self._engine.dispose()
            if isinstance(error, sa.exc.SQLAlchemyError):
                raise StoreError(f"the store {_safe(self.url)} cannot be opened: {_reason(error)}") from error
            raise

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction with the write lock from its start: all of it is stored, or none."""
        try:
            with self._transaction() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"the store {_safe(self.url)} did not take the change: {_reason(error)}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER}, hashtext(current_schema()))")
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading: one consistent snapshot."""
        try:
            with self._engine.connect() as connection:
                if self._engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN")
                else:
                    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"the store {_safe(self.url)} cannot be read: {_reason(error)}") from error

    @property
    def elects(self) -> bool:
        """Whether processes on several machines may share it, and one of them has to be elected."""
        return self._engine.dialect.name == "postgresql"

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection that lives as long as the block, outside of any transaction."""
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"the store {_safe(self.url)} is gone: {_reason(error)}") from error

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of a query as dictionaries."""
        with self.read() as connection:
            return [dict(r) for r in connection.execute(query).mappings()]

    def close(self) -> None:
        self._engine.dispose()


def _absolute(url: str, folder: Path) -> sa.URL:
    parsed = sa.make_url(url)
    if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:":
        path = folder.resolve() / parsed.database
        path.parent.mkdir(parents=True, exist_ok=True)
        parsed = parsed.set(database=str(path))
    elif parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _engine(url: sa.URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    memory = url.database in (None, "", ":memory:")
    engine = sa.create_engine(url, connect_args={"timeout": WAIT}, poolclass=sa.StaticPool if memory else None)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # survives kill -9; a power cut may lose the last commits
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


def _check_schema(connection: Connection) -> None:
    row = connection.execute(sa.select(state.c.value).where(state.c.name == "schema")).scalar()
    if row is None:
        connection.execute(state.insert().values(name="schema", value=SCHEMA))
    elif row != SCHEMA:
        raise StoreError(f"the store has schema {row}, this Everloop reads {SCHEMA}: use the version that made it")


def _safe(url: sa.URL) -> str:
    return url.render_as_string(hide_password=True)


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
