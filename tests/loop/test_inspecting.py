"""A retraining on bad data is refused and the champion stays; what deceives stands beside the decision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.projects import history, write_project

from everloop import registry
from everloop.data import conform, infer, quarantine
from everloop.errors import CheckError, DataError
from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.dataset import quarantine_of
from everloop.loop.inspecting import answered, inspection
from everloop.loop.trail import listing, show
from everloop.loop.workspace import opened
from everloop.settings import Checks, Rule

SET = """
[data.checks.columns.b]
min = 0

[data.process]
bins = { hour = [0, 6, 12, 18] }

[training.augment]
copies = 1
noise = 0.01
"""


def test_bad_files_refuse_a_retraining_and_the_champion_stays(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    text = (folder / "everloop.toml").read_text()
    (folder / "everloop.toml").write_text(text.replace('horizon = "7d"', 'horizon = "7d"\ngap = "1d"') + SET)
    ask(folder, RETRAIN, {})
    bad = history().assign(b=lambda f: f["b"].where(f.index != 5, -1.0))
    bad.to_csv(folder / "data" / "more.csv", index=False)
    with pytest.raises(CheckError, match=r"column 'b' is less than 0 in row 906: '-1.0'; all reasons: `everloop data"):
        ask(folder, RETRAIN, {})
    with opened(folder) as workspace:
        with workspace.store.read() as connection:
            assert registry.alias(connection, "toy", "champion") == "v1"
        told = [show(workspace, row["id"]).record for row in listing(workspace, "decision")]
        failed, first = told[0], told[1]
        assert "column 'b' is less than 0" in str(failed)
        found = first["evidence"]["outcome"]["data"]
        assert (found["rows"], found["served"], found["left_out"], found["leaks"]) == (900, 0, 0, [])
        kept = quarantine.listed(quarantine_of(workspace))
        assert [(one.name, one.bad, one.rows) for one in kept] == [("retraining", 1, 1800)]
    again = history().assign(time=history(days=150)["time"].to_numpy()[900:])  # all of it comes a second time, later
    again[:80].to_csv(folder / "data" / "more.csv", index=False)
    text = (folder / "everloop.toml").read_text()
    (folder / "everloop.toml").write_text(text + '\n[data.checks]\nleakage = "refuse"\n')
    with pytest.raises(CheckError, match="the newest rows, which models are judged on, stand among"):
        ask(folder, RETRAIN, {})


def rows(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"time": np.arange(n) * 60.0, "a": rng.uniform(size=n), "y": rng.normal(size=n)})


def test_served_rows_that_break_a_rule_are_left_out_up_to_a_share() -> None:
    schema, checks = infer(rows(), target="y", time="time"), Checks(columns={"a": Rule(max=1)}, tolerance=0.01)
    served = rows()
    served.loc[[3, 9], "a"] = 7.0
    kept, left_out = answered(served, schema, checks)
    assert kept is not None
    assert (len(kept), left_out) == (398, 2)
    served.loc[20:40, "a"] = 7.0
    with pytest.raises(DataError, match=r"23 of 400 served rows break a rule, more than .*tolerance: column 'a'"):
        answered(served, schema, checks)
    assert answered(served[:0], schema, checks) == (None, 0)


def test_inputs_served_otherwise_are_told() -> None:
    table = rows()
    schema = infer(table, target="y", time="time")
    served = np.arange(len(table)) >= 250
    assert inspection(conform(table, schema), schema, served, 0, Checks(), 3600.0).told == []
    table.loc[served, "a"] += 1
    told = inspection(conform(table, schema), schema, served, 3, Checks(), 3600.0).told
    assert len(told) == 2
    assert told[0].startswith("column 'a' is served otherwise than it was trained on: median 0.")
    assert told[1].startswith("3 served rows break a rule")
