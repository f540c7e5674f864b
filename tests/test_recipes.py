"""Each recipe on the real data that it is for: a new project, a version that passes its gate, answers over HTTP."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.buckets import free_port
from tests.projects import history

from everloop import Project
from everloop.evaluation import main_metric
from everloop.loop.monitoring import Monitor
from everloop.loop.probes import smoke
from everloop.loop.workspace import opened

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a new process for each of many steps


def rentals(rows: pd.DataFrame, answers: pd.DataFrame) -> bool:
    """Half as wrong as the mean count would be, at most."""
    wrong = (answers["prediction"] - rows["cnt"]).abs().mean()
    return bool(wrong < 0.5 * (rows["cnt"] - rows["cnt"].mean()).abs().mean())


def adult(rows: pd.DataFrame, answers: pd.DataFrame) -> bool:
    return bool((answers["label"] == rows["income-per-year"]).mean() > 0.83)


def messages(rows: pd.DataFrame, answers: pd.DataFrame) -> bool:
    return bool((answers["label"] == rows["Label"]).mean() > 0.96)


@pytest.mark.parametrize(
    ("template", "source", "separator", "asked", "right"),
    [
        pytest.param("bike-sharing", "bike-sharing/hour.csv", ",", 400, rentals, id="bike-sharing"),
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
    if template != "bike-sharing":  # those are in the order of time
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
    passes_its_tests(project)
    with served(project):
        new = rows[-asked:].reset_index(drop=True)
        answers = project.predict(new)
        assert right(new, answers)
        assert project.feedback(answers) == asked
        is_explained(project, project.predict(new[:1]))
        passes_a_smoke_test(project)
    has_a_card(project)


def digits(rows: pd.DataFrame, answers: pd.DataFrame) -> bool:
    return bool((answers["label"] == rows["digit"]).mean() > 0.9)


def videos(rows: pd.DataFrame, answers: pd.DataFrame) -> bool:
    return bool((answers["label"] == rows["digit"]).mean() > 0.75)


def houses(rows: pd.DataFrame, answers: pd.DataFrame) -> bool:
    """Half as wrong as the mean price would be, at most."""
    wrong = (answers["prediction"] - rows["price"]).abs().median()
    return bool(wrong < 0.5 * (rows["price"] - rows["price"].mean()).abs().median())


@pytest.mark.parametrize(
    ("template", "model", "table", "asked", "right"),
    [
        pytest.param("digits", "model", "digits.csv", 200, digits, id="digits"),
        pytest.param("digits", "network", "digits.csv", 200, digits, id="digits-torch"),
        pytest.param("videos", "model", "videos.csv", 100, videos, id="videos"),
        pytest.param("houses", "model", "houses.csv", 100, houses, id="houses"),
    ],
)
def test_a_recipe_of_images_or_videos(
    template: str,
    model: str,
    table: str,
    asked: int,
    right: Callable[[pd.DataFrame, pd.DataFrame], bool],
    tmp_path: Path,
) -> None:
    if model == "network":
        pytest.importorskip("torch")
    project = Project.create(tmp_path / template, template)
    data = DATA / "houses"
    if template != "houses":
        data = tmp_path / "data"
        made = [sys.executable, str(project.folder / "data_set.py"), str(data)]
        subprocess.run(made, check=True, capture_output=True)
    elif not (data / table).is_file():
        pytest.skip("houses are not on this machine")
    file = project.folder / "everloop.toml"
    text = file.read_text().replace('"model:model"', f'"model:{model}"')
    file.write_text(f"{text}\n[serving]\nport = {free_port()}\n[monitoring]\nwindow = '40'\n")
    rows = pd.read_csv(data / table).sample(frac=1.0, random_state=np.random.RandomState(0)).reset_index(drop=True)
    here = tmp_path / "here"
    shutil.copytree(data, here)
    rows[:-asked].to_csv(here / table, index=False)
    project = Project.open(project.folder)
    project.data.add(here / table)
    assert project.run()["version"] == "v1"
    passes_its_tests(project)
    with served(project):
        new = rows[-asked:].reset_index(drop=True)
        new = new.assign(**{name: _bytes(new[name], here) for name in project.settings.data.columns})
        answers = project.predict(new)
        assert right(new, answers)
        assert project.feedback(answers) == asked
        is_explained(project, project.predict(new[:1]))
        passes_a_smoke_test(project)
        if template == "digits":
            calm, strange = (
                set[str]().union(*(watched(project, new, turned=t) for _ in range(4))) for t in (False, True)
            )
            wanted = {"data_drift:image", "data_drift:(hidden layer)"}
            assert not calm & wanted
            assert strange & wanted == (wanted if model == "network" else {"data_drift:image"})
    has_a_card(project)


def watched(project: Project, rows: pd.DataFrame, *, turned: bool = False) -> set[str]:
    """Ask for the pictures once more, or for their negatives, and return what the monitor is alarmed by."""
    pictures = [np.asarray(Image.open(io.BytesIO(data))) for data in rows["image"]]
    project.predict(rows.assign(image=pd.Series([255 - p if turned else p for p in pictures], dtype=object)))
    with opened(project.folder) as workspace:
        monitor = Monitor(workspace)
        found = monitor.step(time.time() + 5)
        monitor.close()
    return {signal.name for signal in found if signal.firing}


@pytest.mark.parametrize("template", ["minimal", "bike-sharing"])
def test_a_template_is_tested_before_its_first_version(template: str, tmp_path: Path) -> None:
    project = Project.create(tmp_path / template, template)
    if template == "bike-sharing":
        if not (DATA / "bike-sharing" / "hour.csv").is_file():
            pytest.skip("bike-sharing is not on this machine")
        shutil.copy(DATA / "bike-sharing" / "hour.csv", project.folder / "data")
    else:
        history(days=60).rename(columns={"y": "target"}).to_csv(project.folder / "data" / "rows.csv", index=False)
    passes_its_tests(project)
    assert not project.versions()


def is_explained(project: Project, answers: pd.DataFrame) -> None:
    """Ask why an answer to one row is what it is: base and values of all columns add up to it."""
    url = f"http://127.0.0.1:{project.settings.serving.port}/v2/models/{project.settings.project.name}/explain"
    told = httpx.post(url, json={"prediction_id": answers["prediction_id"][0]}, timeout=60)
    assert told.status_code == 200, told.text
    row = told.json()["explanations"][0]
    assert row["base"] + sum(row["values"].values()) == pytest.approx(row["answer"], rel=1e-5, abs=1e-5)


def passes_a_smoke_test(project: Project) -> None:
    """Ask the server for rows that the version was judged on, as a delivery does."""
    with opened(project.folder) as workspace:
        told = smoke(workspace, f"http://127.0.0.1:{project.settings.serving.port}", "v1")
    assert (told["versions"], told["rows"]) == (["v1"], 5)


def has_a_card(project: Project) -> None:
    """Write the card of the version: use, data, figures, signature."""
    card = project.folder / "card.md"
    command = [sys.executable, "-m", "everloop.cli", "card", "--out", str(card), "--project", str(project.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    text = card.read_text()
    assert "v1" in text
    assert main_metric(project.settings.data.task or "regression") in text


def passes_its_tests(project: Project) -> None:
    """Run `everloop test`; what it may skip is what cannot be sent, and budgets that nobody declared."""
    command = [sys.executable, "-m", "everloop.cli", "test", "--json", "--project", str(project.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    told = {check["name"]: check["result"] for check in json.loads(ended.stdout)["checks"]}
    assert ended.returncode == 0, ended.stdout
    assert len(told) == 11 + len(project.settings.tests.expectations)
    free = {"no NaN from missing values", "latency p99, ms", "memory, MB"}
    assert {name for name, result in told.items() if result == "skipped"} <= free


def _bytes(names: pd.Series[str], folder: Path) -> pd.Series[bytes]:
    return names.map(lambda name: (folder / name).read_bytes())


@contextlib.contextmanager
def served(project: Project) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "everloop.cli", "serve", "--project", str(project.folder)], stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
