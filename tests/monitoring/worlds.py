"""Simulated traffic: numbers, categories, texts and images of a model that is judged on the first weeks of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.monitoring import Reference, Window
from everloop.types import Column, Task

DAY = 86_400.0
COLUMNS = (
    Column("a", "float64"),
    Column("b", "int64"),
    Column("city", "string", "categorical"),
    Column("note", "string", "text"),
    Column("photo", "float64", "image", (8, 8, 3)),
)
NUMBERS = tuple(Column(f"x{i}", "float64") for i in range(12))
WORDS = ("late again", "all is well", "thank you", "never came", "good ride")


def autoregressive(rng: np.random.Generator, rows: int, columns: int, rho: float) -> NDArray[np.float64]:
    noise = rng.normal(size=(rows, columns))
    noise[1:] *= np.sqrt(1 - rho * rho)
    for row in range(1, rows) if rho else ():
        noise[row] += rho * noise[row - 1]
    return noise


def numbers(rng: np.random.Generator, days: int, rho: float = 0.0, per_day: int = 24) -> dict[str, Any]:
    """Return windows' fields of twelve numbers an hour."""
    x = autoregressive(rng, days * per_day, 12, rho)
    return {
        "columns": {c.name: x[:, i] for i, c in enumerate(NUMBERS)},
        "answers": x[:, :3].sum(1)[:, None],
        "flags": {"outlier": rng.uniform(size=len(x)) < 0.01},
    }


def mixed(rng: np.random.Generator, rows: int, task: Task = "regression") -> dict[str, Any]:
    """Return windows' fields of all kinds of columns."""
    a, city = rng.normal(size=rows), rng.choice(["Bonn", "Oslo", "Rome"], rows).tolist()
    chance = 1 / (1 + np.exp(-a))
    answers = a[:, None] if task == "regression" else np.stack([1 - chance, chance], axis=1)
    return {
        "columns": {
            "a": np.where(rng.uniform(size=rows) < 0.05, np.nan, a),
            "b": rng.integers(0, 5, rows).astype(np.float64),
            "city": city,
            "note": [WORDS[i] for i in rng.integers(0, len(WORDS), rows)],
            "photo": rng.uniform(size=(rows, 8 * 8 * 3)),
        },
        "answers": answers,
        "flags": {name: rng.uniform(size=rows) < 0.02 for name in ("outlier", "adversarial", "schema")},
        "explained": {"a": rng.normal(size=9), "b": rng.normal(size=9)},
    }


def reference(fields: dict[str, Any], columns: tuple[Column, ...], task: Task, days: int) -> Reference:
    rows = len(fields["answers"])
    losses = np.random.default_rng(0).exponential(size=rows) * (1 + np.abs(fields["answers"][:, 0]))
    times = np.arange(rows) * days * DAY / rows
    return Reference(task, columns, times, fields["columns"], fields["answers"], losses, fields["flags"])


def window(fields: dict[str, Any], day: int, rows: slice = slice(None), *, last: bool = True) -> Window:
    """Return rows of fields as the whole of a day's window, or, not `last`, a part of it."""
    return Window(
        day * DAY,
        (day + 1) * DAY,
        rows=len(fields["answers"][rows]),
        last=last,
        columns={name: values[rows] for name, values in fields["columns"].items()},
        answers=fields["answers"][rows],
        flags={name: found[rows] for name, found in fields["flags"].items()},
        explained=fields.get("explained", {}),
        newest=day * DAY,
    )
