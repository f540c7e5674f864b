"""A caller of a served model over HTTP: what fails on the way is sent again, with the same ids."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from everloop.errors import RequestError, SystemError_, UsageError
from everloop.serving.protocol import (
    FeedbackBatch,
    FeedbackItem,
    InferRequest,
    InferResponse,
    ModelMetadata,
    Tensor,
    encode,
)

__all__ = ["Client", "infer_request"]


class Client:
    """Calls one model of one server; while the server is away or says 503, it asks again for a while."""

    def __init__(
        self, url: str, model: str, patience: float = 60.0, check: Callable[[], None] = lambda: None, token: str = ""
    ) -> None:
        """`patience` is in seconds; `check` raises when waiting any longer is in vain."""
        address = urlsplit(url)
        if address.scheme != "http" or not address.hostname:
            raise UsageError(f"{url!r} is no server: write it as http://HOST:PORT")
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        self._url, self._path, self._patience, self._check = url, f"/v2/models/{model}", patience, check
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        self.repeated = 0

    def metadata(self) -> ModelMetadata:
        """Return the model's inputs and outputs; raises `RequestError` for a model that is not served."""
        return msgspec.json.decode(self._asked("GET", self._path), type=ModelMetadata)

    def ready(self) -> None:
        """Wait until the model answers; raises `SystemError_` where it does not in time."""
        self._asked("GET", f"{self._path}/ready")

    def generation(self) -> int | None:
        """Return the generation of the plan that the server follows."""
        generation: int | None = msgspec.json.decode(self._asked("GET", "/v2"))["plan_generation"]
        return generation

    def infer(self, request: InferRequest) -> InferResponse:
        """Return the answer; raises `RequestError` for one that the server refuses."""
        return msgspec.json.decode(self._asked("POST", f"{self._path}/infer", encode(request)), type=InferResponse)

    def feedback(self, labels: Sequence[FeedbackItem]) -> int:
        """Return how many labels were taken; one that is wrong refuses them all."""
        body = self._asked("POST", f"{self._path}/feedback", encode(FeedbackBatch(list(labels))))
        accepted: int = msgspec.json.decode(body)["accepted"]
        return accepted

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _asked(self, method: str, path: str, body: bytes | None = None) -> bytes:
        status, content = self._call(method, path, body)
        if status == 200:
            return content
        try:
            told = str(msgspec.json.decode(content)["error"])
        except (msgspec.MsgspecError, KeyError, TypeError):
            told = content.decode(errors="replace")[:300]
        raise RequestError(told, status)

    def _call(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        deadline, pause = time.monotonic() + self._patience, 0.02
        while True:
            try:
                self._connection.request(method, path, body, self._headers)
                response = self._connection.getresponse()
                content = response.read()
                if response.status != 503:
                    return response.status, content
                reason = content.decode(errors="replace")[:300]
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                with contextlib.suppress(OSError):
                    self._connection.close()
            self._check()
            if time.monotonic() > deadline:
                told = f"the server at {self._url} does not answer ({reason})"
                raise SystemError_(f"{told}: start it with `everloop up`, or name where it is with --url")
            self.repeated += 1
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)


def infer_request(
    columns: Mapping[str, Sequence[Any]], datatypes: Mapping[str, str], id: str | None = None, time: float | None = None
) -> InferRequest:
    """Return the request of some rows, given by column; `time` only under an event clock."""
    tensors = [
        Tensor(name, [len(values)], datatypes[name], [_plain(value, datatypes[name]) for value in values])
        for name, values in columns.items()
    ]
    return InferRequest(tensors, id, {} if time is None else {"time": time})


def _plain(value: Any, datatype: str) -> Any:
    plain = value.item() if hasattr(value, "item") else value
    return float(plain) if datatype == "FP64" and type(plain) is int else plain
