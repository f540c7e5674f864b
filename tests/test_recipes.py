"""Each recipe on the real data that it is for: a new project, a version that passes its gate, answers over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.buckets import free_port

from everloop import Project

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = pytest.mark.slow


def adult(rows: pd.DataFrame, answers: pd.DataFrame) -> bool:
    return bool((answers["label"] == rows["income-per-year"]).mean() > 0.83)


def messages(rows: pd.DataFrame, answers: pd.DataFrame) -> bool:
    return bool((answers["label"] == rows["Label"]).mean() > 0.96)


@pytest.mark.parametrize(
    ("template", "source", "separator", "asked", "right"),
    [
        pytest.param("adult", "adult/adult.csv", ",", 400, adult, id="adult"),
        pytest.param("sms-spam", "sms-spam/SMSSpamCollection", "\t", 400, messages, id="sms-spam"),
    ],
)
def test_a_recipe_from_nothing_to_answers(
    template: str,
    source: str,
    separator: str,
    asked: int,
    right: Callable[[pd.DataFrame, pd.DataFrame], bool],
    tmp_path: Path,
) -> None:
    if not (DATA / source).is_file():
        pytest.skip(f"{source} is not on this machine")
    rows = pd.read_csv(DATA / source, sep=separator, keep_default_na=False, quoting=3)
    rows = rows.sample(frac=1.0, random_state=np.random.RandomState(0)).reset_index(drop=True)
    first = tmp_path / f"first{'.tsv' if separator != ',' else '.csv'}"
    rows[:-asked].to_csv(first, sep=separator, index=False)
    project = Project.create(tmp_path / template, template)
    with (project.folder / "everloop.toml").open("a") as file:
        file.write(f"\n[serving]\nport = {free_port()}\n")
    project = Project.open(project.folder)
    project.data.add(first)
    ran = project.run()
    assert ran["version"] == "v1"
    process = subprocess.Popen(
        [sys.executable, "-m", "everloop.cli", "serve", "--project", str(project.folder)], stderr=subprocess.DEVNULL
    )
    try:
        new = rows[-asked:].reset_index(drop=True)
        answers = project.predict(new)
        assert right(new, answers)
        assert project.feedback(answers) == asked
    finally:
        process.terminate()
        process.wait()
