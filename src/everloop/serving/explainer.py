"""The process that explains, so that predictions never wait: orders on its standard input, replies on its output."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.bundles import trusted
from everloop.errors import EverloopError, NotFoundError, RequestError
from everloop.inference import Model, columns_from_lists, judged_rows
from everloop.inference.shapley import explain
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
    background: int = 32
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
    rows = _explained(models[bundle], order)
    return Reply(Explanation(order.version, rows, asked))


def _explained(model: Model, order: Order) -> list[dict[str, Any]]:
    """Return one explanation a row."""
    inputs = model.guards.clip(columns_from_lists(model.manifest.inputs, order.inputs))
    background = _background(model, order.background, order.seed)
    classes = model.manifest.classes
    if order.of_class is not None and order.of_class not in classes:
        raise RequestError(f"class {order.of_class!r} is unknown: one of {', '.join(map(str, classes)) or 'none'}")
    told = []
    for place in range(len(next(iter(inputs.values())))):
        row = {name: array[place : place + 1] for name, array in inputs.items()}
        column = _class_of(model, row, order.of_class) if classes else 0

        def predict(feeds: dict[str, NDArray[Any]], column: int = column) -> NDArray[np.float64]:
            found = model.predict(feeds)
            if classes:
                return found["probability"][:, column].astype(np.float64)
            return found["prediction"].astype(np.float64)

        one = msgspec.to_builtins(explain(predict, row, background, seed=order.seed))
        told.append({"row": place, **({"class": classes[column]} if classes else {}), **one})
    return told


def _class_of(model: Model, row: Mapping[str, NDArray[Any]], asked: Any) -> int:
    """Return the place of the class that is asked for, else of the likeliest one."""
    if asked is not None:
        return model.manifest.classes.index(asked)
    return int(model.predict(row)["probability"][0].argmax())


def _background(model: Model, count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return so many of the rows that the model was judged on, drawn without those that are no columns of it."""
    columns = judged_rows(model.bundle).inputs
    rows = len(next(iter(columns.values())))
    chosen = np.sort(np.random.default_rng(seed).choice(rows, min(count, rows), replace=False))
    return {name: array[chosen] for name, array in columns.items()}


if __name__ == "__main__":
    main()
