"""The store keeps its promises on SQLite and on a real PostgreSQL server, which this file starts for itself."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.databases import new_database, postgresql_server

from everloop import registry
from everloop import store as tables
from everloop.checks import Verdict
from everloop.errors import StoreError
from everloop.pipelines import ArtifactStore, Engine, LocalExecutor, downstream, pipeline, step
from everloop.store import Store

OpenStore = Callable[[], Store]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A server of our own on a unix socket, as an unprivileged user; gives the URL of its maintenance database."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def open_store(url: str) -> Iterator[OpenStore]:
    opened = []

    def open_one() -> Store:
        opened.append(Store(url))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


def add_state(connection: tables.Connection, name: str, value: object = None, data: bytes | None = None) -> None:
    connection.execute(tables.state.insert().values(name=name, value=value, data=data))


def names(store: Store) -> list[str]:
    rows = store.rows(sa.select(tables.state.c.name).order_by(tables.state.c.name))
    return [row["name"] for row in rows if row["name"] != "schema"]


def test_a_transaction_is_stored_whole(store: Store) -> None:
    with store.begin() as connection:
        add_state(connection, "a")
        add_state(connection, "b")
    assert names(store) == ["a", "b"]


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.begin() as connection:
            add_state(connection, "a")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert names(store) == []


def test_values_come_back_as_they_were(store: Store) -> None:
    value = {
        "text": "ä\u2028'; DROP TABLE state; --",
        "number": 0.1 + 0.2,
        "big": 2**53 - 1,
        "none": None,
        "list": [1, []],
    }
    with store.begin() as connection:
        add_state(connection, "a", value, b"\x00\xff")
    (row,) = store.rows(sa.select(tables.state).where(tables.state.c.name == "a"))
    assert row == {"name": "a", "value": value, "data": b"\x00\xff"}


def test_a_time_keeps_its_microseconds(store: Store) -> None:
    with store.begin() as connection:
        connection.execute(tables.outbox.insert().values(kind="a", time=1_325_376_000.123456, payload={}))
    assert store.rows(sa.select(tables.outbox.c.time)) == [{"time": 1_325_376_000.123456}]


def test_a_store_opened_again_holds_its_rows(open_store: OpenStore) -> None:
    with open_store().begin() as connection:
        add_state(connection, "a")
    assert names(open_store()) == ["a"]


def test_the_outbox_numbers_its_rows_in_order(store: Store) -> None:
    for kind in "abc":
        with store.begin() as connection:
            connection.execute(tables.outbox.insert().values(kind=kind, time=0.0, payload={}))
    rows = store.rows(sa.select(tables.outbox).order_by(tables.outbox.c.id))
    assert [(row["id"], row["kind"]) for row in rows] == [(1, "a"), (2, "b"), (3, "c")]


def test_what_is_not_committed_is_not_read(open_store: OpenStore) -> None:
    writer, reader = open_store(), open_store()
    with writer.begin() as connection:
        add_state(connection, "a")
        assert names(reader) == []
    assert names(reader) == ["a"]


def test_reading_sees_one_snapshot(open_store: OpenStore) -> None:
    writer, reader = open_store(), open_store()
    count = sa.select(sa.func.count()).select_from(tables.state)
    with reader.read() as connection:
        before = connection.execute(count).scalar()
        with writer.begin() as other:
            add_state(other, "a")
        assert connection.execute(count).scalar() == before


def test_a_writer_waits_for_the_one_before_it(open_store: OpenStore) -> None:
    first, *others = (open_store() for _ in range(4))
    with first.begin() as connection:
        add_state(connection, "counter", 0)

    def count(store: Store) -> None:
        for _ in range(10):
            with store.begin() as connection:
                where = tables.state.c.name == "counter"
                value = connection.execute(sa.select(tables.state.c.value).where(where)).scalar_one()
                connection.execute(tables.state.update().where(where).values(value=value + 1))

    threads = [threading.Thread(target=count, args=(store,)) for store in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert first.rows(sa.select(tables.state.c.value).where(tables.state.c.name == "counter")) == [{"value": 30}]


KILLED = """
import os, signal, sys
from everloop import store as tables
store = tables.Store(sys.argv[1])
with store.begin() as connection:
    connection.execute(tables.state.insert().values(name="kept", value=None))
with store.begin() as connection:
    connection.execute(tables.state.insert().values(name="lost", value=None))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_inside_a_transaction_leaves_what_it_committed(url: str, open_store: OpenStore) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, url], check=False)
    assert done.returncode == -signal.SIGKILL
    store = open_store()
    assert names(store) == ["kept"]
    with store.begin() as connection:
        add_state(connection, "next")


OPENED = """
import sys
from everloop.errors import StoreError
from everloop.store import Store
try:
    Store(sys.argv[1])
except StoreError as error:
    print(error)
"""


def test_a_store_of_another_schema_is_refused(url: str, store: Store) -> None:
    with store.begin() as connection:
        connection.execute(tables.state.update().where(tables.state.c.name == "schema").values(value=99))
    done = subprocess.run([sys.executable, "-c", OPENED, url], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("the store has schema 99, this Everloop reads 1")


def test_pipelines_and_registry_work_on_it(store: Store, tmp_path: Path) -> None:
    artifacts = ArtifactStore("artifacts", tmp_path)
    engine = Engine(store, artifacts, LocalExecutor(artifacts), tmp_path, clock=lambda: 5.0)
    run = engine.run(_train, {"rows": 3}, run_id="run-1")
    again = engine.run(_train, {"rows": 3}, run_id="run-2")
    assert (run.value, [e.status for e in again.executions]) == ({"rmse": 1.5}, ["cached", "cached"])
    made = downstream(store, run.executions[0].outputs["return"].id)
    assert [entry.step for entry in made] == ["_ingest", "_fit"]
    with store.begin() as connection:
        version = registry.register(
            connection, model="m", bundle="bundles/1", sha256="0", run="run-1", data_version="data-1", window={},
            metrics=run.value, commit=None, verdict=None, time=5.0,
        )  # fmt: skip
        registry.set_alias(connection, "m", "champion", version, Verdict("gate", "pass", "better"), 6.0)
    with store.read() as connection:
        assert registry.alias(connection, "m", "champion") == "v1"
        assert registry.get(connection, "m", "v1")["metrics"] == {"rmse": 1.5}


@step
def _ingest(rows: int) -> list[float]:
    return [0.5] * rows


@step
def _fit(rows: list[float]) -> dict[str, float]:
    return {"rmse": sum(rows)}


@pipeline
def _train(rows: int) -> dict[str, float]:
    return _fit(_ingest(rows))


def test_a_relative_sqlite_path_lies_in_the_folder(tmp_path: Path) -> None:
    Store("sqlite:///state/store.db", tmp_path).close()
    assert (tmp_path / "state" / "store.db").is_file()


def test_a_store_in_memory_is_one_database() -> None:
    store = Store("sqlite://")
    with store.begin() as connection:
        add_state(connection, "a")
    assert names(store) == ["a"]
    store.close()


@pytest.mark.parametrize("name", ["a", None])
def test_what_the_database_does_not_take_is_one_sentence(name: str, store: Store) -> None:
    def write() -> None:
        with store.begin() as connection:
            add_state(connection, "c")
            add_state(connection, name)

    with store.begin() as connection:
        add_state(connection, "a")
    with pytest.raises(StoreError, match=r"did not take the change: .*state") as caught:
        write()
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match=r"cannot be read: .*nowhere"):
        store.rows(sa.select(sa.column("x")).select_from(sa.table("nowhere")))
    assert names(store) == ["a"]


def test_a_writer_that_waits_too_long_is_told(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "WAIT", 0.05)
    first, second = open_store(), open_store()
    with first.begin(), pytest.raises(StoreError, match=r"did not take the change: .*lock"), second.begin():
        pass
    with second.begin() as connection:
        add_state(connection, "a")
    assert names(first) == ["a"]


def test_reading_changes_nothing(store: Store) -> None:
    with contextlib.suppress(StoreError), store.read() as connection:
        add_state(connection, "a")
    assert names(store) == []


def test_a_store_that_is_not_opened_leaves_no_connection(store: Store, url: str) -> None:
    with store.begin() as connection:
        connection.execute(tables.state.update().where(tables.state.c.name == "schema").values(value=99))
    with pytest.raises(StoreError, match="has schema 99"):
        Store(url)
    if url.startswith("postgresql"):
        sessions = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with store.read() as connection:
            for _ in range(1000):  # a server notices a closed connection a moment later
                connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
                if connection.exec_driver_sql(sessions).scalar() == 0:
                    break
            else:
                pytest.fail("a connection is left")


def test_processes_that_open_a_new_store_at_once_agree(url: str, open_store: OpenStore) -> None:
    program = "import sys; from everloop.store import Store; Store(sys.argv[1])"
    opened = [subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in opened] == [b""] * 2
    assert names(open_store()) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense", "the store nonsense cannot be opened: Could not parse"),
        ("none://user:se@cret@host/db", "the store host/db cannot be opened: Can't load plugin"),
        ("postgresql://user:se@cret@host:port/db", "the store host:port/db cannot be opened: "),
        ("sqlite:///file/store.db", "the store sqlite:///file/store.db cannot be opened: "),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_its_password(url: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=f"^{reason}") as caught:
        Store(url, tmp_path)
    assert "cret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("hello, I am not a database, and long enough to be looked at" * 20)
    with pytest.raises(StoreError, match=r"store\.db cannot be opened: file is not a database"):
        Store("sqlite:///store.db", tmp_path)


def test_a_server_out_of_reach_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="no psycopg here: install everloop[postgresql]")
    with pytest.raises(StoreError) as caught:
        Store("postgresql://everloop:secret@127.0.0.1:1/everloop")
    assert "127.0.0.1:1/everloop" in str(caught.value)
    assert "secret" not in str(caught.value)
