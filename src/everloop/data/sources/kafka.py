"""A topic of Kafka, through librdkafka; where each partition was read up to is kept here, not in a consumer group."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from urllib.parse import urlsplit

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from everloop.data.sources.messages import row_of
from everloop.data.sources.source import Chunk, Cursor, Given, Row
from everloop.errors import SystemError_
from everloop.settings import Source

__all__ = ["KafkaSource", "make"]

_log = logging.getLogger("everloop.data")
CHUNK, PATIENCE = 10_000, 15.0


def make(settings: Source, given: Given) -> KafkaSource:
    """Return the source; `options` are librdkafka's."""
    address = urlsplit(settings.url)
    config: dict[str, str | bool] = {
        "bootstrap.servers": given.secrets.fill(address.netloc),
        "group.id": f"everloop-{given.name}",
        "log_level": "0",
        **given.secrets.filled(settings.options),
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    }
    return KafkaSource(config, address.path.strip("/"))


class KafkaSource:
    """Reads each partition from where it was read up to until its end; a new partition from its beginning."""

    def __init__(self, config: dict[str, str | bool], topic: str) -> None:
        self._config, self._topic = config, topic

    def read(self, cursor: Cursor, limit: int) -> Iterator[Chunk]:
        """Yield the messages behind the offsets in the cursor, by partition."""
        consumer = Consumer(self._config, error_cb=lambda _error: None)
        try:
            offsets = {int(partition): int(offset) for partition, offset in cursor.items()}
            open_ = self._assign(consumer, offsets)
            while open_ and limit > 0:
                rows = self._take(consumer, offsets, open_, min(limit, CHUNK))
                limit -= len(rows)
                yield Chunk(rows, _cursor(offsets))
            yield Chunk([], _cursor(offsets))
        except KafkaException as error:
            raise SystemError_(f"topic {self._topic!r} cannot be read: {error.args[0].str()}") from None
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer, offsets: dict[int, int]) -> set[int]:
        """Let the consumer read from the offsets on; returns the partitions."""
        topic = consumer.list_topics(self._topic, timeout=PATIENCE).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        for partition in topic.partitions:
            low, _ = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), PATIENCE)
            known = offsets.setdefault(partition, low)
            if known < low:
                _log.warning("topic %s: the broker deleted %s messages of partition %s before they were pulled",
                             self._topic, low - known, partition)  # fmt: skip
                offsets[partition] = low
        consumer.assign([TopicPartition(self._topic, partition, offsets[partition]) for partition in topic.partitions])
        return set(topic.partitions)

    def _take(self, consumer: Consumer, offsets: dict[int, int], open_: set[int], most: int) -> list[Row]:
        """Return the next messages, move the offsets behind them, and close the partitions that have ended."""
        rows = list[Row]()
        while open_ and len(rows) < most:
            message = consumer.poll(PATIENCE)
            if message is None:
                raise SystemError_(f"topic {self._topic!r} cannot be read: no broker answered within {PATIENCE:g} s")
            partition, error = message.partition(), message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                open_.discard(partition)
                offsets[partition] = message.offset()  # behind marks of transactions, which are no messages
            elif partition in open_:
                offsets[partition] = message.offset() + 1
                if (value := message.value()) is not None:  # else it deletes a key
                    rows.append(row_of(value))
        return rows


def _cursor(offsets: dict[int, int]) -> Cursor:
    return {str(partition): offset for partition, offset in offsets.items()}
