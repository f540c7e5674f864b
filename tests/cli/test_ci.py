"""`everloop ci` and `everloop data check` as a person meets them: what is printed, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.projects import write_project
from tests.pull_requests import TOKEN, pull_requests
from typer.testing import CliRunner, Result

from everloop import git
from everloop.cli import app
from everloop.cli.output import write_out
from everloop.data import infer, schema_file
from everloop.data.sources import files
from everloop.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", days=10)


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=variables)


def test_init_lists_what_it_wrote_and_keeps_what_was_changed(folder: Path) -> None:
    told = run("ci", "init", "github", "--project", str(folder))
    assert told.exit_code == 0
    assert told.stdout.splitlines()[0] == ".github/workflows/everloop-ci.yml"
    written = json.loads(run("ci", "init", "cloudbuild", "--project", str(folder), "--json").stdout)
    assert written == {"system": "cloudbuild", "files": [f"cloudbuild-{name}.yaml" for name in ("ci", "ct", "cd")]}
    (folder / "cloudbuild-cd.yaml").write_text("mine")
    refused = run("ci", "init", "cloudbuild", "--project", str(folder)).exception
    assert isinstance(refused, UsageError)
    assert run("ci", "init", "cloudbuild", "--project", str(folder), "--force").exit_code == 0
    assert run("ci", "init", "travis", "--project", str(folder)).exit_code == 2


def test_changes_are_one_word(folder: Path) -> None:
    (folder / ".gitignore").write_text("/.everloop/\n/data/\n")
    git.start(folder)
    git.commit_files(folder, ["."], "start")
    assert run("ci", "changes", "--project", str(folder)).stdout == "code\n"


def test_a_comment_takes_its_token_from_the_environment(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("<!-- everloop report: toy -->\nfine\n")
    asked = ("ci", "comment", str(report), "--repository", "team/bikes", "--commit", "c" * 40)
    with pull_requests() as github:
        variables = {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}
        assert run(*asked, **variables).stdout == f"no pull request brought {'c' * 40}: nothing was posted\n"
        github.pulls["c" * 40] = 4
        assert run(*asked, **variables).stdout == "https://github.test/4#1\n"
    assert run(*asked, GITHUB_TOKEN="").exit_code != 0


def test_data_that_does_not_fit_is_exit_1(folder: Path) -> None:
    schema = infer(files.read("data/*.csv", folder), target="y", time="time", task="regression")
    (folder / schema_file.FILE).write_text(schema_file.render(schema))
    fits = run("data", "check", "--project", str(folder))
    assert (fits.exit_code, fits.stdout) == (0, "120 rows fit\n")
    (folder / "data" / "bad.csv").write_text("time,a,b,hour\n")
    bad = run("data", "check", "--project", str(folder))
    assert bad.exit_code == 1
    assert bad.stdout.startswith("problem: ")
    assert bad.stdout.endswith("1 problem, 120 rows fit\n")
    told = json.loads(run("data", "check", str(folder / "data" / "bad.csv"), "--project", str(folder), "--json").stdout)
    assert (told["rows"], len(told["problems"])) == (0, 1)


def test_wrong_paths_and_names_are_wrong_usage(folder: Path, tmp_path: Path) -> None:
    (folder / ".gitignore").write_text("/.everloop/\n/data/\n")
    git.start(folder)
    git.commit_files(folder, ["."], "start")
    here = ("--project", str(folder))
    wrong: list[tuple[str, ...]] = [
        ("triggers", "test", str(tmp_path / "none.json"), *here),
        ("triggers", "test", str(tmp_path), *here),
        ("ci", "comment", str(tmp_path / "none.md"), "--repository", "a/b", "--commit", "c", "--token", "t"),
    ]
    for asked in wrong:
        assert run(*asked).exit_code == 2
    refused: list[tuple[tuple[str, ...], str]] = [
        (("ci", "changes", "nosuch", *here), "has no commit 'nosuch'"),
        (("deployment", "report", *here), "there was no rollout yet"),
        (("ci", "load", "--url", "http://127.0.0.1:1", "--p99", "nan", *here), "--p99 nan: name a bound"),
        (
            ("ci", "smoke", "--url", "http://127.0.0.1:1", "--patience", "nan", *here),
            "--patience nan: a server is waited for",
        ),
        (("status", "--project", str(folder / "everloop.toml")), "a file: name the project's folder"),
    ]
    for asked, words in refused:
        error = run(*asked).exception
        assert isinstance(error, UsageError)
        assert words in str(error)


def test_a_place_that_holds_no_file_is_told(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none" / "x.md"):
        with pytest.raises(UsageError, match=r"cannot be written .*: name a file in a folder that is there"):
            write_out(place, "text")


def test_help_keeps_the_names_of_tables() -> None:
    assert "[deployment]" in run("deploy", "--help").stdout
