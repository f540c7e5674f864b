"""Topics of an MQTT broker: a session that the broker keeps, so that it holds back what comes between two pulls."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5, error_string
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from everloop.data.sources.messages import row_of
from everloop.data.sources.source import Chunk, Cursor, Given
from everloop.errors import SystemError_
from everloop.settings import Source, seconds

__all__ = ["MqttSource", "make"]

_log = logging.getLogger("everloop.data")
FOREVER, PATIENCE, LOOK = 0xFFFFFFFF, 10.0, 0.05
UNACKNOWLEDGED = 500
"""Messages that the broker may send before the first of them is acknowledged."""
REMEMBERED = 2 * UNACKNOWLEDGED


def make(settings: Source, given: Given) -> MqttSource:
    """Return the source; the path of the URL is the topic, in which `+` and `#` stand for any part."""
    address = urlsplit(settings.url.replace("#", "%23"))
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"everloop-{given.name}", protocol=MQTTv5, manual_ack=True)
    if address.username:
        client.username_pw_set(
            given.secrets.fill(unquote(address.username)), given.secrets.fill(unquote(address.password or ""))
        )
    if address.scheme == "mqtts":
        client.tls_set()
    host, _, port = given.secrets.fill(address.netloc.rpartition("@")[2]).partition(":")
    usual = 8883 if address.scheme == "mqtts" else 1883
    return MqttSource(client, host, int(port or usual), unquote(address.path.removeprefix("/")), seconds(settings.wait))


class MqttSource:
    """Acknowledges a message once it is safe here; one that is sent again because that was lost is known."""

    def __init__(self, client: Client, host: str, port: int, topic: str, wait: float) -> None:
        self._client, self._host, self._port, self._topic, self._wait = client, host, port, topic, wait
        self._came = list[MQTTMessage]()
        self._answer: tuple[bool, str] | None = None
        self._subscribed: str | None = None

    def read(self, cursor: Cursor, limit: int) -> Iterator[Chunk]:
        """Yield what the broker held back and what comes, until nothing has come for `wait`."""
        self._connect(known=bool(cursor))
        safe = [tuple(one) for one in cursor.get("safe", ())]
        heard = time.monotonic()
        try:
            while limit > 0 and time.monotonic() < heard + self._wait:
                self._look()
                if not self._came:
                    continue
                heard, came = time.monotonic(), self._came[:limit]
                new = [one for one in came if not (one.dup and _mark(one) in safe)]
                limit -= len(new)
                safe = [*safe, *map(_mark, new)][-REMEMBERED:]
                yield Chunk([row_of(bytes(one.payload)) for one in new], {"safe": safe})
                self._acknowledge(came)
            yield Chunk([], {"safe": safe})
        finally:
            self._client.disconnect()
            self._client.loop(LOOK)

    def _connect(self, *, known: bool) -> None:
        """Take up the session that the broker keeps, and see that it holds the subscription."""
        self._client.on_message = lambda _client, _data, message: self._came.append(message)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._on_subscribe
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval, properties.ReceiveMaximum = FOREVER, UNACKNOWLEDGED
        self._client.connect(self._host, self._port, clean_start=False, properties=properties)
        self._until(lambda: self._answer is not None)
        kept, refused = self._answer or (False, "")
        if refused:
            raise SystemError_(f"the broker refuses: {refused}")
        if known and not kept:
            _log.warning("%s: the broker forgot the session; what was sent since the last pull is lost", self._topic)
        self._client.subscribe(self._topic, options=SubscribeOptions(qos=1, retainHandling=2))
        self._until(lambda: self._subscribed is not None)
        if self._subscribed:
            raise SystemError_(f"the broker refuses topic {self._topic!r}: {self._subscribed}")

    def _connected(
        self, _client: object, _data: object, flags: ConnectFlags, reason: ReasonCode, _more: object
    ) -> None:
        self._answer = flags.session_present, str(reason) if reason.is_failure else ""

    def _on_subscribe(self, _client: object, _data: object, _id: int, reasons: list[ReasonCode], _more: object) -> None:
        self._subscribed = next((str(reason) for reason in reasons if reason.is_failure), "")

    def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise SystemError_(f"the broker did not answer within {PATIENCE:g} s")
            self._look()

    def _look(self) -> None:
        """Take what has come, waiting for it a moment."""
        if code := self._client.loop(LOOK):
            if self._answer and self._answer[1]:
                return
            raise SystemError_(f"the broker is gone: {error_string(code)}")

    def _acknowledge(self, messages: Sequence[MQTTMessage]) -> None:
        """Tell the broker that messages are safe here."""
        for one in messages:
            self._client.ack(one.mid, one.qos)
        del self._came[: len(messages)]


def _mark(message: MQTTMessage) -> tuple[int, str]:
    """Return what a message that is sent again is known by: the broker's number and its content."""
    content = message.topic.encode() + b"\0" + message.payload
    return message.mid, hashlib.sha256(content).hexdigest()[:16]
