"""The demo's caller: predictions and labels over HTTP, and the clock that moves the loop on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from everloop.errors import RequestError, SystemError_, UsageError
from everloop.loop.client import Client
from everloop.loop.commands import CLOCK, post, result
from everloop.replay.player import Answer, answer_of, request_of
from everloop.serving.protocol import FeedbackItem
from everloop.store import Store
from everloop.types import Event, Feedback, new_id

__all__ = ["OverHttp"]


class OverHttp:
    """A running server and controller, seen from outside; what fails on the way is sent again with the same id."""

    def __init__(self, client: Client, store: Store, check: Callable[[], None] = lambda: None) -> None:
        """`check` raises when waiting any longer is in vain."""
        self._client, self._store, self._check = client, store, check
        self._datatypes: dict[str, str] = {}
        self.sent = self.failed = 0
        self.first_failure = ""

    @property
    def repeated(self) -> int:
        """How many requests were sent again."""
        return self._client.repeated

    def predict(self, id: str, time: float, inputs: dict[str, Any]) -> Answer | None:
        """Answer one row; one that the server refuses counts as failed."""
        if not self._datatypes:
            self._datatypes = {c.name: c.datatype for c in self._client.metadata().inputs}
        self.sent += 1
        try:
            return answer_of(self._client.infer(request_of(id, time, inputs, self._datatypes)))
        except UsageError as error:
            self.failed += 1
            self.first_failure = self.first_failure or str(error)
            return None

    def label(self, labels: list[Feedback]) -> None:
        """Send labels in one batch; one that is refused is an error of the system, not of the caller."""
        try:
            self._client.feedback([FeedbackItem(prediction=f.prediction, value=f.value, time=f.time) for f in labels])
        except RequestError as error:
            raise SystemError_(f"labels were refused: {error}") from error

    def advance(self, now: float) -> None:
        """Tell the controller the time, wait until it has committed past it, and until the server follows its plan."""
        event = Event(new_id(now, b"clock".ljust(10)), CLOCK, "replay", now)
        post(self._store, event)
        outcome = self._until(lambda: result(self._store, event.id))
        self._until(lambda: self._client.generation() == outcome["generation"] or None)

    def _until(self, look: Callable[[], Any]) -> Any:
        pause = 0.002
        while (found := look()) is None:
            self._check()
            time.sleep(pause)
            pause = min(0.1, pause * 1.5)
        return found
