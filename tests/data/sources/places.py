"""Real places that rows come from: what `[data.sources]` says of each, and how rows come there."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import paho.mqtt.client as mqtt
import pandas as pd
import pytest
import sqlalchemy as sa
from confluent_kafka import Producer
from paho.mqtt.enums import CallbackAPIVersion
from tests.buckets import free_port
from tests.databases import new_database, postgresql_server

from everloop.data.sources.features import PACKAGES
from everloop.pipelines.declared import Environment
from everloop.pipelines.environments import build

__all__ = ["MAKERS", "PASSWORD", "Place", "Row", "environment", "feast"]

Row = dict[str, Any]
PASSWORD = "p@ss/w:rd #1"
"""Not one that a URL would take as it is."""
VARIABLE = "EVERLOOP_TEST_PASSWORD"
EXAMPLE: Row = {"id": 0, "time": "2024-01-01T00:00:00Z", "a": 0.5, "b": 0.5, "hour": 0.0, "y": 1.5}


class Place(Protocol):
    """One real place."""

    keys: str
    """What its table in the project file says."""

    def put(self, rows: Sequence[Row]) -> None:
        """Let rows come there, behind those that are there."""


class Files:
    """A folder into which files come."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self.keys = f'url = "{folder}/*.jsonl"'

    def put(self, rows: Sequence[Row]) -> None:
        """Let a file come."""
        self._count += 1
        (self._folder / "partial").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (self._folder / "partial").rename(self._folder / f"{self._count:03}.jsonl")


class Database:
    """A table of a real database."""

    def __init__(self, url: str, told: str) -> None:
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        self.keys = f'url = "{told}"\ntable = "sold"\ncursor = ["id"]'
        self.put([EXAMPLE])
        with self.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM sold"))

    def put(self, rows: Sequence[Row]) -> None:
        """Insert rows."""
        pd.DataFrame(rows).to_sql("sold", self.engine, index=False, if_exists="append")


class Api:
    """A server that answers with pages of seven rows, by a token, to who knows the password."""

    def __init__(self) -> None:
        self.rows, self.asked, self.statuses = list[Row](), list[dict[str, str]](), list[int]()
        self.keys = ""

    def put(self, rows: Sequence[Row]) -> None:
        """Add rows; the newest come first, as many APIs have it."""
        self.rows = [*reversed(rows), *self.rows]

    def answer(self, params: dict[str, str], authorization: str) -> tuple[int, Any, dict[str, str]]:
        """Return status, body and headers; `statuses` come first, once each."""
        self.asked.append(params)
        if self.statuses:
            return self.statuses.pop(0), {}, {"retry-after": "0"}
        if authorization != f"Bearer {PASSWORD}":
            return 401, {}, {}
        found = [row for row in self.rows if row["id"] >= int(params.get("from", 0))]
        start = int(params.get("page_token", 0))
        following = start + 7 if start + 7 < len(found) else None
        return 200, {"data": {"items": found[start : start + 7]}, "next": following}, {}


class Topic:
    """A topic of a Kafka cluster."""

    def __init__(self) -> None:
        self.producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
        (broker,) = self.producer.list_topics("sold", timeout=10).brokers.values()
        self.keys = f'url = "kafka://{broker.host}:{broker.port}/sold"'

    def put(self, rows: Sequence[Row]) -> None:
        """Send a message a row, by key to any partition."""
        for row in rows:
            self.send(json.dumps(row), str(row["id"]))

    def send(self, text: str, key: str = "") -> None:
        """Send any message."""
        self.producer.produce("sold", text, key)
        self.producer.flush()


class Broker:
    """A real Mosquitto and a publisher."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.keys = f'url = "mqtt://reader:${VARIABLE}@127.0.0.1:{port}/shops/+/sold"\nwait = "300ms"'
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set("reader", PASSWORD)
        deadline = time.monotonic() + 20
        while True:
            try:
                self._client.connect("127.0.0.1", port)
                break
            except OSError:
                assert time.monotonic() < deadline, "Mosquitto does not answer"
                time.sleep(0.05)  # connecting without a pause may meet itself at this port
        self._client.loop_start()

    def put(self, rows: Sequence[Row]) -> None:
        """Publish a message a row."""
        for row in rows:
            self.send(json.dumps(row))

    def send(self, text: str) -> None:
        """Publish any message."""
        self._client.publish("shops/1/sold", text, qos=1).wait_for_publish(10)

    def retain(self, text: str) -> None:
        """Publish a message that the broker keeps for who subscribes later."""
        self._client.publish("shops/1/sold", text, qos=1, retain=True).wait_for_publish(10)

    def close(self) -> None:
        """End the publisher."""
        self._client.loop_stop()


@contextlib.contextmanager
def files(folder: Path) -> Iterator[Place]:
    """Give an empty folder."""
    place = folder / "inbox"
    place.mkdir()
    yield Files(place)


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[Place]:
    """Give an empty database in a file."""
    yield Database(f"sqlite:///{folder}/shop.db", f"sqlite:///{folder}/shop.db")


@contextlib.contextmanager
def postgresql(_folder: Path, server: str = "") -> Iterator[Place]:
    """Give an empty database of a real server, and a user who must show the password and may only read."""
    with contextlib.nullcontext(server) if server else postgresql_server() as server:
        url = sa.make_url(new_database(server))
        database, reader = Database(url.render_as_string(False), ""), f"reader_{url.database}"
        with database.engine.begin() as connection:
            connection.execute(sa.text(f"CREATE USER {reader} PASSWORD '{PASSWORD}'"))
            connection.execute(sa.text(f"GRANT SELECT ON sold TO {reader}"))
            rules = Path(connection.execute(sa.text("SHOW hba_file")).scalar_one())
            rules.write_text(f"local {url.database} {reader} scram-sha-256\n{rules.read_text()}")
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        _until_asked(sa.create_engine(url.set(username=reader, password="wrong"), poolclass=sa.NullPool))
        told = f"postgresql://{reader}:${VARIABLE}@/{url.database}?host={url.query['host']}"
        database.keys = database.keys.replace('url = ""', f'url = "{told}"')
        yield database
        database.engine.dispose()


def _until_asked(engine: sa.Engine) -> None:
    """Wait until the server asks for passwords."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            return
    raise AssertionError("the server asks for no password")


@contextlib.contextmanager
def rest(_folder: Path) -> Iterator[Api]:
    """Give an empty API."""
    api = Api()

    def answer(path: str, authorization: str) -> tuple[int, dict[str, str], Any]:
        params = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        status, body, headers = api.answer(params, authorization)
        return status, headers, body

    with answering(answer) as url:
        api.keys = (
            f'url = "{url}/v1/sold"\ncursor = ["id"]\nsince = "from"\n'
            f'rows = "data.items"\npaging = "token:page_token:next"\n'
            f'headers = {{ Authorization = "Bearer ${VARIABLE}" }}'
        )
        yield api


@contextlib.contextmanager
def answering(answer: Callable[[str, str], tuple[int, dict[str, str], Any]]) -> Iterator[str]:
    """Give the URL of a server that answers what `answer` makes of a path and who asks: JSON, or a text as it is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, self.headers.get("authorization", ""))
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def kafka(_folder: Path) -> Iterator[Place]:
    """Give an empty topic of librdkafka's own cluster."""
    yield Topic()


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[Place]:
    """Give a broker that asks for the password; somebody is subscribed already, since nothing is kept before."""
    program = next((p for p in ("/usr/sbin/mosquitto", "/usr/bin/mosquitto") if Path(p).exists()), None)
    if program is None:
        pytest.skip("no Mosquitto on this machine: apt-get install mosquitto")
    port, users = free_port(), folder / "users"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "reader", PASSWORD], check=True, capture_output=True)
    settings = f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\nuser root\n"
    (folder / "mosquitto.conf").write_text(settings)
    command = [program, "-c", str(folder / "mosquitto.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        broker = Broker(port)
        yield broker
        broker.close()
    finally:
        process.kill()
        process.wait()


class Features(Files):
    """A folder into which files without `a` come, and a Feast repository that knows `a`, also as it was and will be."""

    def __init__(self, folder: Path, repository: Path) -> None:
        super().__init__(folder)
        self.keys = f'url = "feast://{repository}"\nentities = "{folder}/*.jsonl"\nfeatures = ["known:a"]'

    def put(self, rows: Sequence[Row]) -> None:
        """Let a file come."""
        super().put([{name: value for name, value in row.items() if name != "a"} for row in rows])


_FEATURE_STORE = """
project: shop
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""
_FEATURE_VIEW = """
from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

sold = Entity(name="sold", join_keys=["id"], value_type=ValueType.INT64)
known = FeatureView(
    name="known",
    entities=[sold],
    ttl=timedelta(days=30),
    schema=[Field(name="a", dtype=Float64)],
    source=FileSource(path="known.parquet", timestamp_field="event_timestamp"),
)
"""


def _was(_id: int) -> float:
    return -1.0


def _is(id: int) -> float:
    return id / 3


def _will_be(_id: int) -> float:
    return -2.0


def environment(packages: Sequence[str]) -> Path:
    """Return the Python of an environment with these packages."""
    return build(Environment(tuple(packages)))


def feast_repository(folder: Path) -> Path:
    """Make a real repository that knows `a` of sixty ids."""
    ids = range(60)
    known = [
        pd.DataFrame({"id": ids, "event_timestamp": pd.Timestamp(when, tz="UTC"), "a": [value(i) for i in ids]})
        for when, value in (("2023-12-30", _was), ("2023-12-31", _is), ("2024-01-02", _will_be))
    ]
    pd.concat(known).to_parquet(folder / "known.parquet")
    (folder / "feature_store.yaml").write_text(_FEATURE_STORE)
    (folder / "known.py").write_text(_FEATURE_VIEW)
    command = [str(environment(PACKAGES).with_name("feast")), "-c", str(folder), "apply"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@contextlib.contextmanager
def feast(folder: Path, repository: Path) -> Iterator[Place]:
    """Give an empty folder, and features for what comes."""
    (folder / "inbox").mkdir()
    yield Features(folder / "inbox", repository)


MAKERS: dict[str, Callable[..., contextlib.AbstractContextManager[Place]]] = {
    "files": files, "sqlite": sqlite, "postgresql": postgresql, "rest": rest, "kafka": kafka, "mqtt": mosquitto,
}  # fmt: skip
"""All but Feast, whose environment is large."""
