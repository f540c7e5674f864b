"""`everloop label` as a person meets it: rows are written with reasons, never over labels, and come back."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from tests.loop.labels.test_labelling import project
from typer.testing import CliRunner, Result

from everloop.cli import app
from everloop.errors import UsageError


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["label", *arguments, "--project", str(folder)])


def test_rows_to_label_are_written_beside_the_pool_and_never_over_labels(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", rows=0)
    pool, out = tmp_path / "pool.csv", tmp_path / "to-label.csv"
    told = run(folder, "next", str(pool), "--count", "4")
    assert (told.exit_code, told.stdout) == (0, f"4 of 400 rows, chosen by diversity: {out}\n")
    rows = pd.read_csv(out)
    assert list(rows) == ["time", "a", "b", "hour", "y", "label_reason", "label_suggested", "label_confidence"]
    again = run(folder, "next", str(pool))
    assert isinstance(again.exception, UsageError)
    assert str(again.exception).startswith(f"{out} is there already: import its labels and remove it")
    other = run(folder, "next", str(pool), "--count", "2", "--out", str(tmp_path / "two.jsonl"), "--json")
    assert json.loads(other.stdout)["reasons"] == ["typical of rows that are like none with a label"] * 2
    lines = (tmp_path / "two.jsonl").read_text().splitlines()
    assert [json.loads(line)["y"] for line in lines] == [None, None]
    empty = run(folder, "import", str(out))
    assert str(empty.exception) == "to-label.csv: no row has a value in column 'y' yet: label some first"
    unserved = run(folder, "next")
    assert str(unserved.exception) == "nothing was served yet: choose from a file of rows instead"
