"""Streams to decide on: real ones where their files are at hand, and seeded ones whose world changes in a known way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.loop.projects import create_project

__all__ = ["STREAMS", "Stream"]

DATA = Path(__file__).parents[3] / "shared" / "data"
DAYS, PER_DAY = 240, 24
Floats = NDArray[np.float64]

_TOML = """
[project]
name = "{name}"

[data]
target = "y"
time = "time"
task = "{task}"

[training]
model = "model:model"

[monitoring]
interval = "1d"
"""
_MODEL = """
from lightgbm import LGBM{kind}


def model():
    return LGBM{kind}(n_estimators=60, n_jobs=1, verbose=-1)
"""


class Stream(msgspec.Struct, frozen=True):
    """A stream by name: what changes in it, and what writes a project of it; `needs` is a file that must be there."""

    name: str
    told: str
    write: Callable[[Path], None]
    needs: Path | None = None


def _bikes(folder: Path) -> None:
    create_project(folder, "bike-sharing")
    (folder / "data").mkdir(exist_ok=True)
    shutil.copy(DATA / "bike-sharing" / "hour.csv", folder / "data" / "hour.csv")


def _adult(folder: Path) -> None:
    """The rows have no time: they come as they stand in the file, an hour apart."""
    rows = pd.read_csv(DATA / "adult" / "adult.csv", nrows=10_000)
    rows = rows.rename(columns={rows.columns[-1]: "y"}).select_dtypes("number").assign(y=rows.iloc[:, -1])
    _project(folder, "adult", "classification", rows)


def _seeded(name: str, task: str, truth: Callable[[pd.DataFrame, Floats, np.random.Generator], Floats]) -> Stream:
    """A stream of `DAYS` days, half of them live; `truth` gives values or chances from inputs and the share of time."""

    def write(folder: Path) -> None:
        rng = np.random.default_rng(sum(map(ord, name)))
        n = DAYS * PER_DAY
        rows = pd.DataFrame({"a": rng.normal(size=n), "b": rng.uniform(-1, 1, n), "c": rng.normal(size=n)})
        rows["hour"] = np.arange(n) % PER_DAY
        given = truth(rows, np.arange(n) / n, rng)
        if task == "regression":
            rows["y"] = given + rng.normal(0, 3, n)
        else:
            rows["y"] = np.where(rng.uniform(size=n) < 1 / (1 + np.exp(-given)), "yes", "no")
        _project(folder, name, task, rows)

    return Stream(name, (truth.__doc__ or "").strip(), write)


def _project(folder: Path, name: str, task: str, rows: pd.DataFrame) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "everloop.toml").write_text(_TOML.format(name=name, task=task))
    kind = "Regressor" if task == "regression" else "Classifier"
    (folder / "model.py").write_text(_MODEL.format(kind=kind))
    times = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(rows)), unit="h")
    rows.assign(time=times).to_csv(folder / "data" / "rows.csv", index=False)


def _calm(rows: pd.DataFrame, _share: Floats, _rng: np.random.Generator) -> Floats:
    """nothing changes"""
    return np.asarray(50 + 10 * rows["a"] + 8 * rows["b"] * rows["c"] + rows["hour"])


def _jump(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """what an input means turns round at 70 %"""
    return np.asarray(50 + np.where(share < 0.7, 10, -10) * rows["a"] + 8 * rows["b"] + rows["hour"])


def _growth(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """the level grows by half, week by week"""
    return np.asarray((50 + 10 * rows["a"] + 8 * rows["b"] + rows["hour"]) * (1 + 0.5 * share))


def _inputs(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """inputs move at 60 %, what they mean does not"""
    rows["a"] += np.where(share < 0.6, 0.0, 1.0)
    return np.asarray(50 + 10 * rows["a"] + 8 * rows["b"] + rows["hour"])


def _steady(rows: pd.DataFrame, _share: Floats, _rng: np.random.Generator) -> Floats:
    """nothing changes"""
    return np.asarray(2 * rows["a"] - rows["b"])


def _prior(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """one class becomes rarer at 65 %"""
    return np.asarray(2 * rows["a"] - rows["b"] - np.where(share < 0.65, 0.0, 1.5))


def _rotation(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """what decides moves slowly from one input to another, from 55 % to 85 %"""
    angle = np.clip((share - 0.55) / 0.3, 0, 1) * np.pi / 2
    return np.asarray(3 * (np.cos(angle) * rows["a"] + np.sin(angle) * rows["c"]))


def _weeks(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """a weekly season; what an input means fades out from 60 % to 90 % (held out)"""
    day = np.arange(len(rows)) // PER_DAY % 7
    fades = 1 - np.clip((share - 0.6) / 0.3, 0, 1)
    return np.asarray(40 + 12 * (day >= 5) + 10 * fades * rows["a"] + 6 * rows["c"] + rows["hour"])


def _recurring(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """two regimes that take turns, 30 days each, from the middle on (held out)"""
    other = (share > 0.5) & (((share - 0.5) * DAYS // 30) % 2 == 0)
    return np.asarray(50 + np.where(other, 2, 10) * rows["a"] + np.where(other, 9, 3) * rows["b"] + rows["hour"])


def _tails(rows: pd.DataFrame, _share: Floats, rng: np.random.Generator) -> Floats:
    """nothing changes; noise with heavy tails that grows with an input (held out)"""
    return np.asarray(50 + 10 * rows["a"] + rows["hour"] + (1 + np.abs(rows["c"])) * 3 * rng.standard_t(3, len(rows)))


def _sudden(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """what decides turns round at 62 % (held out)"""
    return np.asarray(np.where(share < 0.62, 2.5, -1.5) * rows["a"] + rows["b"])


def _creeping(rows: pd.DataFrame, share: Floats, _rng: np.random.Generator) -> Floats:
    """an input that never mattered comes to decide, from 50 % on (held out)"""
    return np.asarray(1.5 * rows["a"] + 4 * np.clip(share - 0.5, 0, 1) * rows["b"] * 2)


STREAMS = (
    Stream("bike-sharing", "two years of rentals, the second busier", _bikes, DATA / "bike-sharing" / "hour.csv"),
    Stream("adult", "census rows in the order of their file", _adult, DATA / "adult" / "adult.csv"),
    _seeded("calm", "regression", _calm),
    _seeded("jump", "regression", _jump),
    _seeded("growth", "regression", _growth),
    _seeded("inputs", "regression", _inputs),
    _seeded("steady", "classification", _steady),
    _seeded("prior", "classification", _prior),
    _seeded("rotation", "classification", _rotation),
    _seeded("weeks", "regression", _weeks),
    _seeded("recurring", "regression", _recurring),
    _seeded("tails", "regression", _tails),
    _seeded("sudden", "classification", _sudden),
    _seeded("creeping", "classification", _creeping),
)
