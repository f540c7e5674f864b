"""The process that explains, so that predictions never wait: orders on its standard input, replies on its output."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from everloop.bundles import trusted
from everloop.errors import EverloopError, NotFoundError, RequestError
from everloop.inference import Model, columns_from_lists
from everloop.inference.explained import BACKGROUND, explain_rows
from everloop.journal.search import find
from everloop.types import Explanation, Prediction

__all__ = ["LENGTH", "Order", "Reply"]

LENGTH = struct.Struct("<Q")
KEPT = 4


class Order(msgspec.Struct):
    """What to explain: the `inputs` of `version`, or a journalled `prediction`, with whichever version answered it."""

    bundles: dict[str, str]
    keys: str
    journal: str
    version: str = ""
    inputs: dict[str, list[Any]] = {}
    prediction: str = ""
    background: int = BACKGROUND
    seed: int = 0
    of_class: str | int | float | bool | None = None
    native: list[str] | None = None


class Reply(msgspec.Struct):
    """The explanation, and whether the journal held it already; or an error with its HTTP status."""

    explanation: Explanation | None = None
    stored: bool = False
    error: str = ""
    status: int = 0


def main() -> None:
    """Explain until nobody asks any more."""
    with contextlib.suppress(OSError):
        os.nice(10)
    models: dict[str, Model] = {}
    while (message := _read(sys.stdin.buffer)) is not None:
        try:
            reply = _answer(msgspec.msgpack.decode(message, type=Order), models)
        except EverloopError as error:
            reply = Reply(error=str(error), status=error.http_status)
        data = msgspec.msgpack.encode(reply)
        sys.stdout.buffer.write(LENGTH.pack(len(data)) + data)
        sys.stdout.buffer.flush()


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return stream.read(LENGTH.unpack(head)[0])


def _answer(order: Order, models: dict[str, Model]) -> Reply:
    asked = {"background": order.background, "seed": order.seed, "class": order.of_class}
    if order.prediction:
        records = find(Path(order.journal), order.prediction)
        for record in records:
            if (
                not record.erased
                and record.kind == "explanation"
                and (known := record.read(Explanation)).asked == asked
            ):
                return Reply(known, stored=True)
        answered = next((r.read(Prediction) for r in records if r.kind == "prediction" and not r.erased), None)
        if answered is None:
            raise NotFoundError("prediction", order.prediction)
        order.version, order.inputs = answered.version, answered.inputs
    bundle = order.bundles.get(order.version)
    if bundle is None:
        served = ", ".join(order.bundles)
        raise RequestError(f"version {order.version}, which answered it, is not served any more, only {served}", 404)
    if bundle not in models:
        while len(models) >= KEPT:
            del models[next(iter(models))]
        models[bundle] = Model.load(Path(bundle), trusted(Path(order.keys)), native=order.native)
    model = models[bundle]
    inputs = model.guards.clip(columns_from_lists(model.manifest.inputs, order.inputs))
    rows = explain_rows(model, inputs, order.background, order.seed, order.of_class)
    return Reply(Explanation(order.version, rows, asked))


if __name__ == "__main__":
    main()
