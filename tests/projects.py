"""Small projects with a history whose world changes, cheap enough to replay in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

START, PER_DAY = pd.Timestamp("2024-01-01", tz="UTC"), 12

_MODEL = """
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def regression():
    return make_pipeline(StandardScaler(), LinearRegression())


def classification():
    return make_pipeline(StandardScaler(), LogisticRegression())
"""

_TOML = """
[project]
name = "toy"

[data]
source = "data/*.csv"
target = "y"
time = "time"
task = "{task}"

[training]
model = "toy.model:{task}"
horizon = "7d"

[deployment]
minimum_labels = 24
max_days = 10

[triggers]
concept_drift = {{ cooldown = "6d", budget = 8 }}

[monitoring]
interval = "1d"

[recalibration]
on = {recalibration}

[tracking]
mlflow = false
tensorboard = false

[replay]
start = 0.4
"""


def write_project(
    folder: Path,
    task: str = "regression",
    days: int = 75,
    change: int = 45,
    seed: int = 1,
    *,
    recalibration: bool = False,
) -> Path:
    """Write a project whose history changes on day `change`: the level of `y`, or what its class depends on.

    A level is what `recalibration` repairs, so it is off where a retraining is what is looked at.
    """
    package = folder / "toy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(_MODEL)
    (folder / "everloop.toml").write_text(_TOML.format(task=task, recalibration=str(recalibration).lower()))
    (folder / "data").mkdir()
    history(task, days, change, seed).to_csv(folder / "data" / "history.csv", index=False)
    return folder


def history(task: str = "regression", days: int = 75, change: int = 45, seed: int = 1) -> pd.DataFrame:
    """Return twelve rows a day: two numbers, an hour, and `y` (a number, or yes and no)."""
    rng = np.random.default_rng(seed)
    n = days * PER_DAY
    hour = np.arange(n) % PER_DAY * 2.0
    a, b = rng.normal(size=n), rng.uniform(size=n)
    late = np.arange(n) >= change * PER_DAY
    if task == "regression":
        y = (100 + 3 * hour + 10 * a + 5 * b) * np.where(late, 1.5, 1.0) + rng.normal(0, 4, n)
    else:
        chance = 1 / (1 + np.exp(-(2.5 * a + np.where(late, 2.5, -1.0))))
        y = np.where(rng.uniform(size=n) < chance, "yes", "no")
    times = START + pd.to_timedelta(np.arange(n) * 24 / PER_DAY, unit="h")
    return pd.DataFrame({"time": times.strftime("%Y-%m-%dT%H:%M:%SZ"), "a": a, "b": b, "hour": hour, "y": y})
