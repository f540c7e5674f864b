from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.projects import write_project

from everloop.errors import CheckError, DataError, SettingsError
from everloop.replay.backtest import run_backtest


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
