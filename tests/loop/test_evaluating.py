"""What a version is worth: from its own bundle, against the champion, as figures and as a page."""

from __future__ import annotations

import html.parser
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from tests.loop.test_asking import NOW, Loop
from tests.projects import write_project

from everloop import store
from everloop.checks import Verdict
from everloop.errors import NotFoundError, UsageError
from everloop.loop.commands import RETRAIN
from everloop.loop.data_versions import log
from everloop.loop.evaluating import Evaluated, evaluate_version
from everloop.loop.evaluation_page import page
from everloop.loop.version_report import render_report
from everloop.loop.workspace import opened


class Outside(html.parser.HTMLParser):
    """What a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] if tag in ("script", "link", "iframe") else []
        self.found += [value or "" for name, value in attrs if name in ("src", "href") and value and value[0] != "#"]


def cheap_project(folder: Path, task: str = "regression") -> Path:
    """Write a project whose versions are trained in a second: one window, no guards beside the schema's."""
    place = write_project(folder, task) / "everloop.toml"
    text = place.read_text().replace('horizon = "7d"', 'horizon = "7d"\nwindow = "all"')
    place.write_text(f'{text}\n[guards]\noutlier = "off"\nadversarial = "off"\n')
    return folder


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_versions_are_evaluated_and_compared(tmp_path: Path, task: str) -> None:
    with opened(cheap_project(tmp_path / "project", task)) as workspace:
        with pytest.raises(UsageError, match=r"no version to evaluate yet: `everloop run`"):
            evaluate_version(workspace)
        loop = Loop(workspace)
        loop.controller.step(NOW)
        first = evaluate_version(workspace)
        assert (first.version, first.evaluation.paired) == ("v1", None)
        bundle = next(one for one in workspace.bundles.iterdir() if one.is_dir())
        registered = workspace.model(str(bundle)).manifest.metrics
        assert {name: one.value for name, one in first.evaluation.metrics.items()} == pytest.approx(registered)
        loop.ask(RETRAIN)
        loop.controller.close()
        second = evaluate_version(workspace, "v2")
        compared = second.evaluation.paired
        assert compared is not None
        assert compared.rival == "v1"
        assert compared.rows > 0
        assert msgspec.json.decode(msgspec.json.encode(second), type=Evaluated) == second
        with pytest.raises(NotFoundError, match="v9"):
            evaluate_version(workspace, "v9")
        told = page(second)
        outside = Outside()
        outside.feed(told)
        assert outside.found == []
        for words in (
            "Metrics",
            "Against v1",
            "Calibration",
            "Over time",
            "What answers depend on",
            "Robustness",
            "<svg",
        ):
            assert words in told


def test_rows_without_a_time_are_told_none(tmp_path: Path) -> None:
    folder = cheap_project(tmp_path / "project")
    (folder / "everloop.toml").write_text((folder / "everloop.toml").read_text().replace('time = "time"\n', ""))
    table = pd.read_csv(folder / "data" / "history.csv").drop(columns="time")
    table.to_csv(folder / "data" / "history.csv", index=False)
    with opened(folder) as workspace:
        Loop(workspace).controller.step(NOW)
        told = evaluate_version(workspace).as_told()["evaluation"]
        assert {(row["from"], row["to"]) for row in log(workspace)} == {("", "")}
        assert "rows\n- trained on" in render_report(workspace)
    assert (told["start"], told["end"]) == (None, None)
    assert {period["start"] for period in told["over_time"]} == {None}


OWN = """
from everloop.checks import Verdict


def late(evidence):
    newest = evidence.rows.take(slice(-24, None))
    worst = float(newest.losses.max())
    return Verdict("late", "fail" if worst > 1e-9 else "pass", f"largest loss of the newest rows {worst:.4g}")
"""


def test_gates_bound_what_an_evaluation_finds_and_ask_the_projects_own_code(tmp_path: Path) -> None:
    folder = cheap_project(tmp_path / "project")
    (folder / "own_gates.py").write_text(OWN)
    with (folder / "everloop.toml").open("a") as file:
        file.write(
            "\n[gates]\nworst_slice = { max = 100 }\nr2 = { min = -9, sure = true }\n"
            'robustness = { max = 9 }\nlargest_share = { max = 0.01 }\nown = ["own_gates:late"]\n'
        )
    with opened(folder) as workspace:
        loop = Loop(workspace)
        loop.controller.step(NOW)
        loop.controller.close()
        (version,) = loop.rows(store.model_version)
        parts = msgspec.convert(version["verdict"], Verdict).leaves
        told = {one.check: one.outcome for one in parts}
        assert told == {
            "worst_slice": "pass",
            "r2": "pass",
            "robustness": "pass",
            "largest_share": "fail",
            "late": "fail",
        }
        assert version["stage"] == "rejected"
        assert "| late | fail | largest loss of the newest rows" in render_report(workspace, "v1")
