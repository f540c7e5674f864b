"""`everloop data profile` and `everloop data quarantine` as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.projects import history, write_project
from typer.testing import CliRunner, Result

from everloop import git
from everloop.cli import app
from everloop.errors import DataError
from everloop.types import parse_time


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments, "--project", str(folder)])


def test_rows_are_looked_at_refused_and_dropped(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    (folder / "data" / "history.csv").unlink()
    (folder / ".gitignore").write_text("/.everloop/\n")
    git.start(folder)
    git.commit_files(folder, ["."], "start")
    good, bad, page = tmp_path / "good.csv", tmp_path / "bad.csv", tmp_path / "page.html"
    history()[:500].to_csv(good, index=False)
    history()[500:].assign(a="much").to_csv(bad, index=False)

    looked = run(folder, "profile", str(good), "--out", str(page))  # before there is any schema
    assert (looked.exit_code, looked.stdout) == (0, f"500 rows, 5 columns: {page}\n")
    assert "<h1>toy: good.csv</h1>" in page.read_text()
    assert run(folder, "add", str(good)).exit_code == 0
    told = json.loads(run(folder, "profile", "--against", str(good), "--json").stdout)
    assert (told["profile"]["rows"], told["against"], len(told["shifts"])) == (500, "good.csv", 4)

    assert run(folder, "quarantine", "list").stdout == "nothing was refused\n"
    assert isinstance(run(folder, "add", str(bad)).exception, DataError)
    [row] = json.loads(run(folder, "quarantine", "list", "--json").stdout)
    assert parse_time(row["when"]) > 0
    assert json.loads(run(folder, "quarantine", "show", row["id"], "--json").stdout)["time"] == row["when"]
    shown = run(folder, "quarantine", "show", row["id"]).stdout
    assert shown.startswith(
        f"bad.csv from {bad}: 400 of 400 rows are at fault\n  column 'a' is not a number in rows 1, 2"
    )
    assert run(folder, "quarantine", "drop", row["id"]).stdout == f"{row['id']} is gone\n"
    assert json.loads(run(folder, "quarantine", "list", "--json").stdout) == []
