"""What was refused is added after all when a person says so: whole once it fits, or without its bad rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tests.projects import history, write_project

from everloop import git
from everloop.data import quarantine
from everloop.errors import DataError, UsageError
from everloop.loop.dataset import add_data, quarantine_of
from everloop.loop.quarantined import refused, release
from everloop.loop.workspace import opened

RULE = "\n[data.checks.columns.b]\nmax = 1\n"


def test_a_refused_file_is_released(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    (folder / "data" / "history.csv").unlink()
    plain = (folder / "everloop.toml").read_text()
    (folder / "everloop.toml").write_text(plain + RULE)
    (folder / ".gitignore").write_text("/.everloop/\n")
    git.start(folder)
    git.commit_files(folder, ["."], "start")
    rows = history()
    rows[:500].to_csv(tmp_path / "first.csv", index=False)
    rows[500:].assign(b=lambda f: f["b"].where(f.index != 502, 3.0)).to_csv(tmp_path / "second.csv", index=False)
    rows[500:].drop(columns="hour").to_csv(tmp_path / "third.csv", index=False)
    with opened(folder) as workspace:
        add_data(workspace, [str(tmp_path / "first.csv")])
        with pytest.raises(DataError, match=r"column 'b' is more than 1 in row 3: '3.0'") as error:
            add_data(workspace, [str(tmp_path / "second.csv")], now=1e10)
        assert error.value.rows == (2,)
        assert "--accept-schema" not in str(error.value)  # no schema says so
        [told] = refused(workspace)
        assert (told["name"], told["rows"], told["bad"]) == ("second.csv", 400, 1)
        with pytest.raises(DataError, match="column 'b' is more than 1"):
            release(workspace, told["id"], now=1e10)
        [still] = quarantine.listed(quarantine_of(workspace))
        assert (still.id, still.source) == (told["id"], str(tmp_path / "second.csv"))
        added = release(workspace, told["id"], without_bad_rows=True, now=1e10)
        assert (added.files, added.rows) == (["second.csv"], 399)
        assert len(pd.read_csv(folder / "data" / "second.csv")) == 399
        assert refused(workspace) == []
        with pytest.raises(DataError, match=r"column 'hour' is missing.* if that is right, --accept-schema shows"):
            add_data(workspace, [str(tmp_path / "third.csv")])
        with pytest.raises(UsageError, match=r"not some rows but the whole of third.csv is at fault: column 'hour'"):
            release(workspace, refused(workspace)[0]["id"], without_bad_rows=True)
        with pytest.raises(DataError, match=r"`everloop data quarantine release q-\w+ --accept-schema` shows and"):
            release(workspace, refused(workspace)[0]["id"])
