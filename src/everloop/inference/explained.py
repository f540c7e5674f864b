"""Why a model answers rows as it does, held against rows that it was judged on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.errors import RequestError
from everloop.inference.judged import judged_rows
from everloop.inference.model import Model
from everloop.inference.shapley import explain

__all__ = ["BACKGROUND", "explain_rows"]

BACKGROUND = 32
"""Rows that are usual: drawn of those that the model was judged on."""


def explain_rows(
    model: Model,
    inputs: Mapping[str, NDArray[Any]],
    background: int = BACKGROUND,
    seed: int = 0,
    of_class: str | int | float | bool | None = None,
) -> list[dict[str, Any]]:
    """Return one explanation a row, of a class or, without one, of the likeliest; `inputs` went through the guards."""
    usual, classes = _usual(model, background, seed), model.manifest.classes
    if of_class is not None and of_class not in classes:
        raise RequestError(f"class {of_class!r} is unknown: one of {', '.join(map(str, classes)) or 'none'}")
    told = []
    for place in range(len(next(iter(inputs.values())))):
        row = {name: array[place : place + 1] for name, array in inputs.items()}
        column = _class_of(model, row, of_class) if classes else 0

        def predict(feeds: dict[str, NDArray[Any]], column: int = column) -> NDArray[np.float64]:
            found = model.predict(feeds)
            if classes:
                return found["probability"][:, column].astype(np.float64)
            return found["prediction"].astype(np.float64)

        one = msgspec.to_builtins(explain(predict, row, usual, seed=seed))
        told.append({"row": place, **({"class": classes[column]} if classes else {}), **one})
    return told


def _class_of(model: Model, row: Mapping[str, NDArray[Any]], asked: Any) -> int:
    """Return the place of the class that is asked for, else of the likeliest one."""
    if asked is not None:
        return model.manifest.classes.index(asked)
    return int(model.predict(dict(row))["probability"][0].argmax())


def _usual(model: Model, count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return so many of the rows that the model was judged on, drawn without those that are no columns of it."""
    columns = judged_rows(model.bundle).inputs
    rows = len(next(iter(columns.values())))
    chosen = np.sort(np.random.default_rng(seed).choice(rows, min(count, rows), replace=False))
    return {name: array[chosen] for name, array in columns.items()}
