"""Kafka and MQTT beyond the contract: what is no row, what is sent again, what a stream forgot."""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.data.sources.places import MAKERS, PASSWORD, VARIABLE, Broker, Topic

from everloop.data.sources.opening import opened_source
from everloop.errors import SystemError_
from everloop.settings import Source


@pytest.fixture
def topic(tmp_path: Path) -> Iterator[Topic]:
    with MAKERS["kafka"](tmp_path) as place:
        assert isinstance(place, Topic)
        yield place


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with MAKERS["mqtt"](tmp_path) as place:
        assert isinstance(place, Broker)
        yield place


def read(keys: str, cursor: dict[str, Any], limit: int = 1000, chunks: int = 1000) -> tuple[list[Any], dict[str, Any]]:
    """Return the rows behind a cursor, and the new one; after so many chunks what is read is not safe any more."""
    rows = list[Any]()
    settings = msgspec.convert(tomllib.loads(keys), Source)
    with opened_source(settings, "shop", "toy", Path(), {VARIABLE: PASSWORD}) as source:
        with closing(source.read(cursor, limit)) as found:  # type: ignore[type-var]
            for chunk in found:
                rows += chunk.rows
                cursor = chunk.cursor or cursor
                chunks -= 1
                if not chunks:
                    break
    return rows, cursor


def test_a_message_that_is_no_row_keeps_its_text(topic: Topic, broker: Broker) -> None:
    _, known = read(broker.keys, {})
    for place, cursor in ((topic, {}), (broker, known)):
        for text in ('{"id": 1}', "[2]", "{half", ""):
            place.send(text)
        rows, _ = read(place.keys, cursor)
        told = {json.dumps(row) for row in rows}
        assert told == {'{"id": 1}', '{"unreadable": "[2]"}', '{"unreadable": "{half"}', '{"unreadable": ""}'}


def test_what_kafka_deleted_is_told_and_left_out(topic: Topic, caplog: pytest.LogCaptureFixture) -> None:
    topic.send('{"id": 1}', "k")
    rows, cursor = read(topic.keys, {})
    assert rows == [{"id": 1}]
    with caplog.at_level(logging.WARNING):
        (partition,) = [p for p, offset in cursor.items() if offset]
        behind = cursor | {partition: -2}
        assert read(topic.keys, behind)[0] == [{"id": 1}]
    assert f"the broker deleted 2 messages of partition {partition} before they were pulled" in caplog.text


@pytest.mark.slow
def test_a_topic_that_is_not_there_is_told(topic: Topic) -> None:
    keys = topic.keys.replace("127.0.0.1", "localhost.invalid")
    settings = f"{keys}\noptions = {{ 'socket.connection.setup.timeout.ms' = '1000' }}"
    with pytest.raises(SystemError_, match="topic 'sold' cannot be read: "):
        read(settings, {})


def test_mqtt_takes_nothing_twice_where_an_acknowledgement_was_lost(broker: Broker) -> None:
    _, cursor = read(broker.keys, {})
    for i in range(60):
        broker.send(json.dumps({"id": i}))
    rows, cursor = read(broker.keys, cursor, chunks=1)  # these are safe, but the broker was not told
    assert rows
    more, cursor = read(broker.keys, cursor)
    assert sorted(row["id"] for row in rows + more) == list(range(60))


def test_mqtt_tells_of_a_session_that_was_forgotten(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read(broker.keys, {"safe": []})
    assert "the broker forgot the session; what was sent since the last pull is lost" in caplog.text


def test_a_retained_message_from_before_is_no_row(broker: Broker) -> None:
    broker.retain('{"id": 1}')
    rows, cursor = read(broker.keys, {})
    assert rows == []
    broker.send('{"id": 2}')
    assert read(broker.keys, cursor)[0] == [{"id": 2}]
