"""The demo's caller: predictions and labels over HTTP, and the clock that moves the loop on."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from everloop.errors import SystemError_
from everloop.loop.commands import CLOCK, post, result
from everloop.replay.player import Answer, answer_of, request_of
from everloop.serving.protocol import FeedbackBatch, FeedbackItem, InferResponse, ModelMetadata, encode
from everloop.store import Store
from everloop.types import Event, Feedback, new_id

__all__ = ["OverHttp"]

PATIENCE = 60.0


class OverHttp:
    """A running server and controller, seen from outside; what fails on the way is sent again with the same id."""

    def __init__(self, url: str, model: str, store: Store, check: Callable[[], None] = lambda: None) -> None:
        """`check` raises when waiting any longer is in vain."""
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        self._path, self._store, self._check = f"/v2/models/{model}", store, check
        self._datatypes: dict[str, str] = {}
        self.sent = self.failed = self.repeated = 0
        self.first_failure = ""

    def predict(self, id: str, time: float, inputs: dict[str, Any]) -> Answer | None:
        """Answer one row; an answer other than 200 counts as failed."""
        if not self._datatypes:
            self._datatypes = {c.name: c.datatype for c in self._metadata().inputs}
        self.sent += 1
        status, body = self._call("POST", f"{self._path}/infer", encode(request_of(id, time, inputs, self._datatypes)))
        if status != 200:
            self.failed += 1
            self.first_failure = self.first_failure or body.decode(errors="replace")[:300]
            return None
        return answer_of(msgspec.json.decode(body, type=InferResponse))

    def label(self, labels: list[Feedback]) -> None:
        """Send labels in one batch; one that is refused is an error of the system, not of the caller."""
        items = [FeedbackItem(prediction=f.prediction, value=f.value, time=f.time) for f in labels]
        status, body = self._call("POST", f"{self._path}/feedback", encode(FeedbackBatch(items)))
        if status != 200:
            raise SystemError_(f"labels were refused: {body.decode(errors='replace')[:300]}")

    def advance(self, now: float) -> None:
        """Tell the controller the time, wait until it has committed past it, and until the server follows its plan."""
        event = Event(new_id(now, b"clock".ljust(10)), CLOCK, "replay", now)
        post(self._store, event)
        outcome = self._until(lambda: result(self._store, event.id))
        self._until(lambda: self._generation() == outcome["generation"] or None)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _metadata(self) -> ModelMetadata:
        _, body = self._call("GET", self._path)
        return msgspec.json.decode(body, type=ModelMetadata)

    def _generation(self) -> int | None:
        _, body = self._call("GET", "/v2")
        generation: int | None = msgspec.json.decode(body)["plan_generation"]
        return generation

    def _until(self, look: Callable[[], Any]) -> Any:
        pause = 0.002
        while (found := look()) is None:
            self._check()
            time.sleep(pause)
            pause = min(0.1, pause * 1.5)
        return found

    def _call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return status and body; while the server is away or says 503, ask again for a minute at most."""
        deadline, pause = time.monotonic() + PATIENCE, 0.02
        while True:
            reason = ""
            try:
                self._connection.request(method, path, body, {"content-type": "application/json"})
                response = self._connection.getresponse()
                content = response.read()
                if response.status != 503:
                    return response.status, content
                reason = content.decode(errors="replace")[:300]
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
                with contextlib.suppress(OSError):
                    self._connection.close()
            self._check()
            if time.monotonic() > deadline:
                raise SystemError_(f"the server does not answer for a minute: {reason}")
            self.repeated += 1
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)
