"""The promise on real data: the loop keeps the bike-sharing model better than any calendar of as many retrainings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from everloop.replay.backtest import run_backtest

ROOT = Path(__file__).parents[2]
BIKES = ROOT.parent / "shared" / "data" / "bike-sharing" / "hour.csv"
ADULT = ROOT.parent / "shared" / "data" / "adult" / "adult.csv"
TEMPLATE = ROOT / "src" / "everloop" / "templates" / "bike-sharing"


@pytest.mark.slow
@pytest.mark.skipif(not BIKES.is_file(), reason="the bike-sharing file is not on this machine")
def test_the_loop_on_the_bike_sharing_history(tmp_path: Path) -> None:
    project = tmp_path / "bikes"
    shutil.copytree(TEMPLATE, project)
    summary = run_backtest(project, str(BIKES), tmp_path / "out")
    error = summary["rmse"]
    assert error["frozen"] > 115
    assert error["loop"] <= 72
    assert error["loop"] < error["calendar"]
    assert len(summary["retrainings"]) <= 15
    assert summary["predictions"] == {"sent": 8690, "failed": 0}


_MODEL = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TEXT = ["workclass", "education", "marital-status", "occupation", "relationship", "sex"]
NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]


def features(people):
    return people[[*TEXT, *NUMBERS, "when", "income-per-year"]]


def model():
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), TEXT), (StandardScaler(), NUMBERS))
    return make_pipeline(columns, LogisticRegression(max_iter=300))
"""

_TOML = """
[project]
name = "income"

[data]
target = "income-per-year"
time = "when"

[training]
model = "income:model"
features = "income:features"

[monitoring]
interval = "1d"

[triggers]
concept_drift = { cooldown = "7d" }
"""


@pytest.mark.slow
@pytest.mark.skipif(not ADULT.is_file(), reason="the adult file is not on this machine")
def test_a_classification_history_whose_classes_change(tmp_path: Path) -> None:
    """From two thirds on, what decides the class is turned around for the married: a made change on real rows."""
    people = pd.read_csv(ADULT, skipinitialspace=True).sample(6000, random_state=0)
    people["when"] = pd.date_range("2024-01-01", periods=len(people), freq="24min", tz="UTC")
    late = np.arange(len(people)) > 4000
    married = people["marital-status"].str.startswith("Married").to_numpy()
    rich = people["income-per-year"].unique().max()
    poor = people["income-per-year"].unique().min()
    people.loc[late & married, "income-per-year"] = poor
    people.loc[late & ~married, "income-per-year"] = np.where(np.arange((late & ~married).sum()) % 3, poor, rich)
    (tmp_path / "data").mkdir()
    people.to_csv(tmp_path / "data" / "people.csv", index=False)
    (tmp_path / "income.py").write_text(_MODEL)
    (tmp_path / "everloop.toml").write_text(_TOML)
    summary = run_backtest(tmp_path, None, tmp_path / "out")
    loss = summary["log_loss"]
    assert any(r["verdict"] == "promoted" for r in summary["retrainings"])
    assert loss["loop"] < 0.9 * loss["frozen"]
