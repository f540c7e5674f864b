"""Seeded streams with known change points, and real data: sixty days live after eight weeks of reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

__all__ = ["Stream", "real", "seeded"]

BEFORE, LIVE, CHANGE, PER_DAY = 56, 60, 30, 48
DATA = Path(os.environ.get("EVERLOOP_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
DAYS_OF_BIKES, ROWS_OF_ADULT = 300, 200


class Stream(NamedTuple):
    """Rows by day (negative days are the reference), and the day of the change; None where there is none."""

    name: str
    rows: pd.DataFrame
    change: int | None


def seeded(seeds: int) -> Iterator[Stream]:
    """Yield each kind of stream with each seed."""
    for name, (make, changes) in KINDS.items():
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            rows = _calm(rng)
            late = np.maximum(0.0, rows["day"].to_numpy() - CHANGE + 1) / (LIVE - CHANGE)
            make(rows, late, rng)
            yield Stream(name, rows, CHANGE if changes else None)


def real() -> Iterator[Stream]:
    """Yield bike sharing, the second half against the first, and adult, shuffled, where they are there."""
    bikes, adult = DATA / "bike-sharing" / "hour.csv", DATA / "adult" / "adult.csv"
    if bikes.exists():
        table = pd.read_csv(bikes)
        day = (pd.to_datetime(table["dteday"]) - pd.Timestamp("2011-12-31")).dt.days - 1
        kept = table[["temp", "hum", "windspeed", "cnt"]].astype(float).assign(city="one", loss=0.0, day=day)
        yield Stream("bike sharing: 2012 against 2011", kept[kept["day"] < DAYS_OF_BIKES], 0)
    if adult.exists():
        for seed in range(3):
            table = pd.read_csv(adult).sample(frac=1.0, random_state=seed).reset_index(drop=True)
            numbers = table.select_dtypes("number").iloc[:, :4].astype(float)
            day = np.arange(len(table)) // ROWS_OF_ADULT - BEFORE
            kept = numbers.assign(city=table["workclass"].astype(str), loss=0.0, day=day)
            yield Stream("adult, shuffled: no change", kept[kept["day"] < LIVE], None)


def _calm(rng: np.random.Generator) -> pd.DataFrame:
    n = (BEFORE + LIVE) * PER_DAY
    noise = rng.normal(size=(n, 4))
    for row in range(1, n):
        noise[row] = 0.6 * noise[row - 1] + 0.8 * noise[row]
    rows = pd.DataFrame(noise, columns=[f"x{i}" for i in range(4)])
    rows["city"] = rng.choice(["Bonn", "Oslo", "Rome"], n)
    rows["loss"] = rng.exponential(size=n)
    rows["day"] = np.arange(n) // PER_DAY - BEFORE
    return rows


def _none(_rows: pd.DataFrame, _late: np.ndarray, _: np.random.Generator) -> None:
    pass


def _mean(rows: pd.DataFrame, late: np.ndarray, _: np.random.Generator) -> None:
    rows["x0"] += 1.0 * (late > 0)


def _spread(rows: pd.DataFrame, late: np.ndarray, _: np.random.Generator) -> None:
    rows["x0"] *= np.where(late > 0, 2.0, 1.0)


def _gradual(rows: pd.DataFrame, late: np.ndarray, _: np.random.Generator) -> None:
    rows["x0"] += 2.0 * late


def _category(rows: pd.DataFrame, late: np.ndarray, rng: np.random.Generator) -> None:
    rows.loc[(late > 0) & (rng.uniform(size=len(rows)) < 0.2), "city"] = "Atlantis"


def _season(rows: pd.DataFrame, _late: np.ndarray, _: np.random.Generator) -> None:
    rows["x0"] += 2 * np.sin(2 * np.pi * np.arange(len(rows)) / PER_DAY) + 1.5 * (rows["day"] % 7 >= 5)


def _concept(rows: pd.DataFrame, late: np.ndarray, _: np.random.Generator) -> None:
    rows["loss"] *= np.where(late > 0, 1.5, 1.0)


Make = Callable[[pd.DataFrame, np.ndarray, np.random.Generator], None]
KINDS: dict[str, tuple[Make, bool]] = {
    "no change": (_none, False),
    "seasons, no change": (_season, False),
    "mean by one deviation": (_mean, True),
    "spread doubled": (_spread, True),
    "gradual, to two deviations": (_gradual, True),
    "new category, 20 %": (_category, True),
    "loss by half, stable inputs": (_concept, True),
}
