"""Microsoft's Responsible AI Toolbox in its own environment: insights are saved whole, loaded again and shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import pytest
from tests.loop.test_asking import NOW, Loop
from tests.loop.test_evaluating import cheap_project
from tests.projects import START

from everloop.cli import main
from everloop.errors import BusyError, SystemError_, UsageError
from everloop.inference import judged_rows
from everloop.loop.evaluating import version_of
from everloop.loop.lease import lease
from everloop.loop.responsible_ai import ENVIRONMENT, Insights, save_insights, saved_insights
from everloop.loop.workspace import opened
from everloop.pipelines.environments import LOCK, build, place_of

NASTY = "`${alert(1)}</script>"
MODEL = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def classification():
    kinds = (OneHotEncoder(handle_unknown="ignore"), ["plan"])
    return make_pipeline(make_column_transformer(kinds, remainder="passthrough"), LogisticRegression())
"""
LOADED = """
import json, sys
from responsibleai import RAIInsights

insights = RAIInsights.load(sys.argv[1])
rows = insights.test.drop(columns="y")
(found,) = insights.counterfactual.get()
wanted = [
    (insights.model.predict(one.final_cfs_df.drop(columns="y")) != insights.model.predict(rows.iloc[[row]])).all()
    for row, one in enumerate(found.cf_examples_list) if one.final_cfs_df is not None
]
print(json.dumps({
    "rows": json.loads(rows.to_json(orient="records", double_precision=15)),
    "answers": insights.model.predict_proba(rows).tolist(),
    "columns": insights.explainer.get()[0].features,
    "tree": len(insights.error_analysis.get()[0].tree),
    "wanted": [bool(one) for one in wanted],
}))
"""


def mixed_project(folder: Path) -> Path:
    """Write a project with numbers, a flag and a category whose texts would end the script of a careless page."""
    cheap_project(folder, "classification")
    (folder / "toy" / "model.py").write_text(MODEL)
    rng = np.random.default_rng(0)
    n = 400
    table: dict[str, Any] = {"time": [(START + pd.Timedelta(hours=2 * i)).isoformat() for i in range(n)]}
    table |= {"a": rng.normal(size=n), "plan": rng.choice(["free", NASTY, ""], n), "member": rng.uniform(size=n) < 0.5}
    table["y"] = np.where(table["a"] + table["member"] + rng.normal(size=n) > 0.5, "yes", "no")
    pd.DataFrame(table).to_csv(folder / "data" / "history.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = mixed_project(tmp_path_factory.mktemp("rai") / "project")
    with opened(folder) as workspace:
        loop = Loop(workspace)
        loop.controller.step(NOW)
        loop.controller.close()
    return folder


def failing_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up an environment whose Python fails as it starts."""
    monkeypatch.setenv("EVERLOOP_ENVIRONMENTS", str(place))
    python = place_of(ENVIRONMENT) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "Traceback" >&2\necho "MemoryError: too many rows" >&2\nexit 1\n')
    python.chmod(0o755)
    (place_of(ENVIRONMENT) / LOCK).touch()


def test_a_step_that_fails_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_environment(tmp_path / "environments", monkeypatch)
    place = tmp_path / "out" / "insights"
    left = place.with_name(".insights.1.partial")  # by a process that was killed
    left.mkdir(parents=True)
    with opened(folder) as workspace:
        with pytest.raises(SystemError_, match="toolbox did not get through: MemoryError: too many rows"):
            save_insights(workspace, None, place)
        assert list(place.parent.iterdir()) == []
        left.mkdir()  # by a process that is still at it
        with (
            lease(workspace.path(workspace.settings.storage.lease).with_name("responsible-ai.lease")),
            pytest.raises(BusyError, match=r"another everloop evaluate --responsible-ai \(process \d+\) runs"),
        ):
            save_insights(workspace, None, place)
        assert list(place.parent.iterdir()) == [left]
        place.mkdir()
        (place / "notes.txt").write_text("mine")
        with pytest.raises(UsageError, match="insights is not empty: name a new folder"):
            save_insights(workspace, None, place)
    assert (place / "notes.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="insights holds no insights that were saved here"):
        saved_insights(place)


@pytest.mark.parametrize("name", ["*", "."])
def test_a_folder_of_any_name_is_that_folder(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_environment(tmp_path / "environments", monkeypatch)
    other = tmp_path / "out" / ".insights.1.partial"
    other.mkdir(parents=True)
    (tmp_path / "out" / "here").mkdir()
    monkeypatch.chdir(tmp_path / "out" / "here")
    place = Path(name) if name == "." else tmp_path / "out" / name
    with opened(folder) as workspace, pytest.raises(SystemError_, match="too many rows"):
        save_insights(workspace, None, place)
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [other.name, "here"]


def test_what_cannot_be_looked_at_is_refused(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as workspace:
        row = version_of(workspace, None)
        model = workspace.model(row["bundle"])
        bundle = model.bundle
        schema = json.loads(bundle.read("schema.json"))
        schema["inputs"][1] |= {"kind": "text"}
        model.bundle = msgspec.structs.replace(
            bundle, files=bundle.files | {"schema.json": json.dumps(schema).encode()}
        )
        with pytest.raises(UsageError, match="column 'plan' of v1 is of kind text: the toolbox looks at numbers"):
            save_insights(workspace, None, tmp_path / "insights")
        model.bundle = msgspec.structs.replace(bundle, files=bundle.files | {"native.json": b"{}"})
        with pytest.raises(UsageError, match="v1 is a native model"):
            save_insights(workspace, None, tmp_path / "insights")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--serve"], "--serve shows them"),
        (["--responsible-ai", "insights", "--out", "page.html"], "in place of all else"),
        (["--responsible-ai", "insights", "--attacks"], "in place of all else"),
        (["v2", "--responsible-ai", "insights", "--serve"], "holds insights of v1, not of v2"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "insights").mkdir()
    known = Insights("toy", "v1", "regression", 1, 1, 1, "data-1", {}, {})
    (tmp_path / "insights" / "everloop.json").write_bytes(msgspec.json.encode(known))
    monkeypatch.setattr(sys, "argv", ["everloop", "evaluate", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def evaluate(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "everloop.cli", "evaluate", "--project", str(folder), *options]


@contextmanager
def dashboard(folder: Path, insights: Path) -> Iterator[str]:
    """Serve saved insights, and end that as a person does."""
    command = evaluate(folder, "--responsible-ai", str(insights), "--serve", "--port", "0", "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            told = "".join(iter(process.stdout.readline, "}\n")) + "}"
            yield json.loads(told)["url"]
        finally:
            process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_insights_are_saved_loaded_again_and_shown(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "insights"
    ended = subprocess.run(
        evaluate(folder, "v1", "--responsible-ai", str(place), "--json"), stdout=subprocess.PIPE, text=True, check=True
    )
    told = json.loads(ended.stdout)
    with opened(folder) as workspace:
        model = workspace.model(version_of(workspace, "v1")["bundle"])
    rows = judged_rows(model.bundle)
    judged = len(rows.times)
    assert (told["version"], told["rows"], told["judged"], told["train_from"]) == ("v1", judged, judged, "data-1")
    assert told["covered"] == {"explainer": judged, "error_analysis": judged, "counterfactual": 20}
    assert told["left_out"] == {}
    assert {file.name for file in tmp_path.iterdir()} == {"insights"}

    load = [str(build(ENVIRONMENT)), "-W", "ignore", "-c", LOADED, str(place)]
    with subprocess.Popen(load, stdout=subprocess.PIPE, text=True, cwd=os.sep) as loading:
        with dashboard(folder, place) as url:
            is_shown(url, rows.inputs, model.predict(rows.inputs)["probability"])
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
        loaded = json.loads(loading.communicate()[0].splitlines()[-1])
    assert loaded["columns"] == list(rows.inputs)
    assert [row["plan"] for row in loaded["rows"]] == rows.inputs["plan"].tolist()
    assert [row["a"] for row in loaded["rows"]] == pytest.approx(rows.inputs["a"].tolist(), rel=1e-12)
    np.testing.assert_allclose(loaded["answers"], model.predict(rows.inputs)["probability"], atol=1e-7)
    assert loaded["tree"] > 0
    assert loaded["wanted"] == [True] * 20


def is_shown(url: str, inputs: dict[str, Any], answers: Any) -> None:
    """Check the page and what it asks; it is for nobody but itself."""
    page = httpx.get(url, timeout=60)
    assert page.status_code == 200
    assert all(f'"{name}"' in page.text for name in inputs)
    assert "alert(1)" in page.text
    assert "`${alert(1)}" not in page.text
    assert "alert(1)}</script>" not in page.text
    row = [[inputs["a"][0], inputs["plan"][0], "true" if inputs["member"][0] else "false"]]
    asked = httpx.post(f"{url}/predict", json=row, timeout=60).json()
    np.testing.assert_allclose(asked["data"], answers[:1], atol=1e-7)
    columns: list[Any] = [list(inputs), [], [], 3, 31, 20, "Error rate"]
    assert httpx.post(f"{url}/tree", json=columns, timeout=60).json()["data"]
    assert httpx.get(url, headers={"host": "example.org"}).status_code == 403
    assert httpx.post(f"{url}/predict", json=row, headers={"origin": "http://example.org"}).status_code == 403
