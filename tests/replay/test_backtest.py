from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.projects import history, write_project

from everloop import store
from everloop.errors import CheckError, DataError, SettingsError
from everloop.replay.backtest import backtest, run_backtest, state_folder
from everloop.replay.history import load_history
from everloop.replay.scratch import scratch_workspace
from everloop.settings import load


@pytest.fixture(scope="module", params=["regression", "classification"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp(request.param)
    write_project(folder / "project", request.param)
    return folder, run_backtest(folder / "project", None, folder / "out")


def test_the_loop_beats_leaving_the_model_alone(done: tuple[Path, dict[str, Any]]) -> None:
    _, summary = done
    values = summary[summary["metric"]]
    assert set(values) >= {"frozen", "loop", "weekly", "weekly_all", "monthly", "monthly_all", "calendar"}
    assert values["loop"] < 0.85 * values["frozen"]
    assert any(r["verdict"] == "promoted" for r in summary["retrainings"])
    assert all(r["reason"] and r["evidence"] for r in summary["retrainings"])


def test_the_calendar_retrains_as_often_as_the_loop(done: tuple[Path, dict[str, Any]]) -> None:
    _, summary = done
    counts = {row["name"]: row["retrainings"] for row in summary["alternatives"]}
    assert counts["calendar"] == counts["loop"] == len(summary["retrainings"])
    assert counts["frozen"] == 0


def test_report_picture_and_summary_are_written(done: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = done
    told = json.loads((folder / "out" / "summary.json").read_text())
    assert told["alternatives"] == json.loads(json.dumps(summary["alternatives"]))
    assert (folder / "out" / "error.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "src=" not in page
    assert 'href="http' not in page


def test_the_projects_own_state_is_left_alone(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    assert [p.name for p in (folder / "project" / ".everloop").iterdir()] == ["backtest"]


def test_too_little_history_is_refused(tmp_path: Path) -> None:
    write_project(tmp_path / "project", days=6)
    with pytest.raises(DataError, match="72 rows are too few to replay"):
        run_backtest(tmp_path / "project", None, tmp_path / "out")


def test_features_must_keep_the_rows(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with (folder / "toy" / "model.py").open("a") as file:
        file.write("\n\ndef features(rows):\n    return rows.set_index(rows.index + 5)\n")
    text = (folder / "everloop.toml").read_text()
    (folder / "everloop.toml").write_text(text.replace("[training]", '[training]\nfeatures = "toy.model:features"'))
    with pytest.raises(DataError, match="does not keep the rows' index"):
        run_backtest(folder, None, tmp_path / "out")


def test_a_folder_without_a_project_file_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no everloop\.toml"):
        run_backtest(tmp_path, None, tmp_path / "out")


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    with (folder / "data" / "history.csv").open("a") as file:
        file.write("2025-01-01T00:00:00Z,1,2,3,4,5,6,7\n")
    with pytest.raises(CheckError, match=r"history\.csv cannot be read: .*line 902"):
        run_backtest(folder, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_inputs_that_moved_start_a_retraining_once_until_they_are_quiet(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project", change=75)
    rows = history(change=75)
    rows.loc[len(rows) * 2 // 3 :, "a"] += 4.0
    rows.to_csv(folder / "data" / "history.csv", index=False)
    path, only = folder / "everloop.toml", '[triggers]\nconcept_drift = false\ndata_drift = { cooldown = "0s" }\n'
    path.write_text(re.sub(r"\[triggers\]\n(.+\n)+", only, path.read_text()))
    settings = load(folder)
    played = load_history(folder, settings)
    workspace = scratch_workspace(folder, settings, played, state_folder(folder))
    backtest(workspace, played, lambda _day, _days: None)
    decided = workspace.store.rows(sa.select(store.decision).order_by(store.decision.c.number))
    workspace.close()
    first, *drifted = [d for d in decided if d["response"] == "retrain"]
    assert first["reason"] == "there is no model yet"
    (one,) = drifted
    assert one["evidence"]["triggers"] == ["data_drift"]
    told = [s for s in one["evidence"]["signals"] if s["firing"]]
    assert "data_drift" in [s["name"] for s in told]  # all columns together are the first to show it
    assert {s["evidence"]["version"] for s in told} == {"v1"}
    assert one["time"] - played.times[len(rows) * 2 // 3] < 14 * 86_400
    held = [d["reason"] for d in decided if d["response"] == "hold" and "data_drift" in d["evidence"]["triggers"]]
    assert any("answered already and has not been quiet since" in reason for reason in held)
