"""Online features: a declared pre-step that asks Feast's feature server for the columns that a request leaves out."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec

from everloop.errors import RequestError, SystemError_
from everloop.serving.options import Lookup
from everloop.serving.protocol import DATATYPES, Tensor
from everloop.serving.tensors import scalars_of
from everloop.types import Column

__all__ = ["OnlineFeatures"]

_ASKED_AT_ONCE = 16
_PRESENT = "PRESENT"
_UNKNOWN: dict[str, Any] = {"float64": None, "string": ""}
"""What stands for a value that the store does not know; a column of another type has to be sent."""


class _Names(msgspec.Struct):
    feature_names: list[str]


class _Feature(msgspec.Struct):
    values: list[Any]
    statuses: list[str]


class _Found(msgspec.Struct):
    """The answer of `/get-online-features`: one result a name, with one value a row."""

    metadata: _Names
    results: list[_Feature]


_decode = msgspec.json.Decoder(_Found).decode


class OnlineFeatures:
    """Completes requests from an online store, as the same features were joined to the rows of a training."""

    def __init__(self, lookup: Lookup, took: Callable[[float], None], failed: Callable[[], None]) -> None:
        self._lookup, self._took, self._failed = lookup, took, failed
        self._features = {feature.rpartition(":")[2]: feature for feature in lookup.features}
        self._threads = ThreadPoolExecutor(_ASKED_AT_ONCE, "features")
        self._idle: deque[http.client.HTTPConnection] = deque()

    async def complete(self, tensors: Sequence[Tensor], columns: Sequence[Column]) -> Sequence[Tensor]:
        """Return the tensors of a request with the features that it leaves out; what it brings is not looked up.

        Keys that are no column of the model are taken out. Raises `RequestError` for keys that are missing or do not
        fit the rows, and for a feature without a value, and `SystemError_` where the store does not answer in time.
        """
        names, sent = {column.name for column in columns}, {tensor.name: tensor for tensor in tensors}
        kept = [tensor for tensor in tensors if tensor.name not in self._lookup.keys or tensor.name in names]
        wanted = [c for c in columns if c.name in self._features and c.name not in sent]
        if not wanted or not (names | set(self._lookup.keys)) & set(sent):  # a matrix holds all columns
            return kept
        keys = {key: self._values(key, sent, wanted[0].name) for key in self._lookup.keys}
        _check_rows(tensors, keys)
        body = {"features": [self._features[column.name] for column in wanted], "entities": keys}
        found = await self._ask(msgspec.json.encode(body))
        return [*kept, *(self._tensor(column, found, keys) for column in wanted)]

    def close(self) -> None:
        """Wait for what is being asked, and end threads and connections."""
        self._threads.shutdown(cancel_futures=True)
        while self._idle:
            self._idle.pop().close()

    def _values(self, key: str, sent: dict[str, Tensor], wanted: str) -> list[Any]:
        if key not in sent:
            raise RequestError(f"missing tensor {key!r}, which {wanted!r} is looked up by: send it, or {wanted!r}")
        values = scalars_of(sent[key])
        for row, value in enumerate(values):
            if value is None or value != value:
                raise RequestError(f"tensor {key!r}, value {row}: nothing is looked up by {value}: send {wanted!r}")
        return values

    async def _ask(self, body: bytes) -> _Found:
        loop, started = asyncio.get_running_loop(), time.perf_counter()
        try:
            answer = loop.run_in_executor(self._threads, self._post, body)
            return await asyncio.wait_for(answer, self._lookup.seconds)
        except (OSError, http.client.HTTPException, msgspec.MsgspecError, UnicodeError) as error:
            self._failed()
            told = str(error) or f"it took longer than {self._lookup.seconds:g} s"
            raise SystemError_(f"the feature store at {self._lookup.url} gave no features: {told}") from error
        finally:
            self._took(time.perf_counter() - started)

    def _post(self, body: bytes) -> _Found:
        """Ask on a connection that is at hand; on another where the store has closed it meanwhile."""
        try:
            used = self._idle.pop()
        except IndexError:
            used = None
        connection = used or _connect(self._lookup)
        try:
            status, answer = self._exchange(connection, body)
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            connection.close()
            if used is None:
                raise
            return self._post(body)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        if status != 200:
            raise http.client.HTTPException(f"status {status}, {answer[:200].decode(errors='replace')}")
        return _decode(answer)

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
        headers = {"content-type": "application/json"}
        if self._lookup.token:
            headers["authorization"] = f"Bearer {self._lookup.token}"
        path = urlsplit(self._lookup.url).path.rstrip("/")
        connection.request("POST", f"{path}/get-online-features", body, headers)
        response = connection.getresponse()
        return response.status, response.read()

    def _tensor(self, column: Column, found: _Found, keys: dict[str, list[Any]]) -> Tensor:
        rows = len(next(iter(keys.values())))
        try:
            feature = found.results[found.metadata.feature_names.index(column.name)]
            pairs = list(zip(feature.values, feature.statuses, strict=True))
        except (ValueError, IndexError):
            pairs = []
        if len(pairs) != rows:
            self._failed()
            raise SystemError_(f"the feature store at {self._lookup.url} gave no {column.name!r} for {rows} rows")
        values = [self._value(column, row, keys, *pair) for row, pair in enumerate(pairs)]
        tensor = Tensor(column.name, [rows], DATATYPES[column.dtype], values)
        try:
            scalars_of(tensor)
        except RequestError as error:  # nobody sent it
            self._failed()
            raise SystemError_(
                f"the feature store at {self._lookup.url} gave what the model does not take: {error}"
            ) from error
        return tensor

    def _value(self, column: Column, row: int, keys: dict[str, list[Any]], value: Any, status: str) -> Any:
        """Return a value; one that is older than its view allows is none, as in the rows of a training."""
        if status == _PRESENT and value is not None:
            return value
        if column.dtype in _UNKNOWN:
            return _UNKNOWN[column.dtype]
        told = ", ".join(f"{name} = {values[row]!r}" for name, values in keys.items())
        raise RequestError(f"row {row}: the feature store knows no {column.name!r} of {told}: send {column.name!r}")


def _check_rows(tensors: Sequence[Tensor], keys: dict[str, list[Any]]) -> None:
    key, values = next(iter(keys.items()))
    for tensor in tensors:
        if list(tensor.shape[:1]) != [len(values)]:
            raise RequestError(
                f"tensor {tensor.name!r} has shape {tensor.shape}, tensor {key!r} has {len(values)} rows"
            )


def _connect(lookup: Lookup) -> http.client.HTTPConnection:
    address = urlsplit(lookup.url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    return kind(address.hostname or "", address.port, timeout=lookup.seconds)
