"""What rows look like, before anything is learned from them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tests.projects import history, write_project

from everloop.loop.profiling import profile_data
from everloop.loop.workspace import opened


def test_rows_without_a_time_show_none_and_their_doubles(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    settings = folder / "everloop.toml"
    settings.write_text(settings.read_text().replace('time = "time"\n', ""))
    rows = history().drop(columns="time")
    pd.concat([rows, rows[:7]]).to_csv(folder / "data" / "history.csv", index=False)
    with opened(folder) as workspace:
        found = profile_data(workspace, []).profile
    assert (found.rows, found.duplicates, found.time, found.start) == (len(rows) + 7, 7, "", "")
    assert sorted(column.name for column in found.columns) == sorted(rows.columns)
