"""Everloop's detectors over one stream, in its own process."""

from __future__ import annotations

import numpy as np
import pandas as pd

from everloop.monitoring import Cut, Reference, Window, labelled, unlabelled
from everloop.types import Column

__all__ = ["inputs", "losses"]

DAY = 86_400.0


def inputs(rows: pd.DataFrame) -> list[int]:
    """Return the days on which a data-drift signal begins to fire."""
    names = [n for n in rows.columns if n not in ("city", "loss", "day")]
    columns = (*(Column(n, "float64") for n in names), Column("city", "string", "categorical"))
    known = rows[rows["day"] < 0]
    detectors = [d for d in unlabelled(_reference(known, columns), Cut()) if d.name.startswith("data_drift")]
    return _alarms(rows, columns, detectors)


def losses(rows: pd.DataFrame) -> dict[str, list[int]]:
    """Return the days on which CUSUM, and adaptive windowing, on the days' losses begin to fire."""
    known = rows[rows["day"] < 0]
    found = {}
    for detector in labelled(_reference(known, ()), Cut(), "loss", lambda _truth, answers: {"loss": answers.mean()}):
        if detector.name.startswith("loss_"):
            found[f"everloop {detector.name}"] = _alarms(rows, (), [detector])
    return found


def _reference(known: pd.DataFrame, columns: tuple[Column, ...]) -> Reference:
    rank = known.groupby("day").cumcount() / known.groupby("day")["day"].transform("size")
    times = ((known["day"] + rank) * DAY).to_numpy()
    values = {c.name: known[c.name].to_numpy() for c in columns}
    zeros = np.zeros((len(known), 1))
    return Reference("regression", columns, times, values, zeros, known["loss"].to_numpy())


def _alarms(rows: pd.DataFrame, columns: tuple[Column, ...], detectors: list) -> list[int]:  # type: ignore[type-arg]
    firing: set[str] = set()
    alarms = []
    for day, part in rows[rows["day"] >= 0].groupby("day"):
        values = {c.name: part[c.name].to_numpy() if c.dtype == "float64" else part[c.name].tolist() for c in columns}
        known = part["loss"].to_numpy()
        window = Window(
            day * DAY, (day + 1) * DAY, rows=len(part), last=True, columns=values, answers=np.zeros((len(part), 1)),
            losses=known, truth=known, coverage=1.0,
        )  # fmt: skip
        told = [detector.update(window) for detector in detectors]
        now = {signal.name for signal in told if signal and signal.firing}
        alarms += [int(day)] * len(now - firing)
        firing = now
    return alarms
