"""The GitHub workflows that `everloop ci init` writes, run here: pushes of code and of data, a schedule, releases."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from tests.buckets import free_port
from tests.projects import history, write_project
from tests.pull_requests import PullRequests, pull_requests
from tests.workflows import Expression, Job, Machine

from everloop import git, store
from everloop.data.dvc import start
from everloop.exporters import cloud_build
from everloop.loop.ci_files import describe
from everloop.loop.client import Client
from everloop.loop.data_versions import set_remote
from everloop.loop.dataset import add_data
from everloop.loop.pipeline_versions import versions
from everloop.loop.workspace import opened

BIN = Path(sys.executable).parent
TEST = """\
from toy.model import regression


def test_the_model_is_built() -> None:
    assert len(regression()) == 2
"""
SETTINGS = """
[tests]
skip = ["no NaN from missing values"]

[deployment]
strategy = "replace"
minimum_labels = 24
"""


class Team:
    """A person's clone, the remote that it pushes to, the live project that follows, and the machine that runs jobs."""

    def __init__(self, place: Path, github: PullRequests) -> None:
        self.github, self.own, self.live = github, place / "own", place / "live"
        remote = place / "remote.git"
        git.run(place, "init", "-q", "--bare", "-b", "main", str(remote))
        self._write(place)
        git.run(self.own, "remote", "add", "origin", str(remote))
        self.push()
        git.run(place, "clone", "-q", str(remote), str(self.live))
        subprocess.run([BIN / "dvc", "pull", "--quiet"], cwd=self.live, check=True)
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "GITHUB_API_URL": github.url}
        variables = {"EVERLOOP_INSTALLED": "true", "EVERLOOP_DATA": "true", "EVERLOOP_PROJECT": str(self.live)}
        self.machine = Machine(str(remote), place, environment, variables)  # DVC names its remote from beside

    def _write(self, place: Path) -> None:
        """Write the project, its first data under DVC with a remote, and its workflows."""
        write_project(self.own, days=40)
        toml = self.own / "everloop.toml"
        toml.write_text(toml.read_text().replace("\n[deployment]\nminimum_labels = 24\n", SETTINGS))
        (self.own / "data" / "history.csv").unlink()
        (self.own / "tests").mkdir()
        (self.own / "tests" / "test_model.py").write_text(TEST)
        (self.own / ".gitignore").write_text("/.everloop/\n__pycache__/\n.pytest_cache/\n.ruff_cache/\n")
        git.start(self.own)
        git.run(self.own, "checkout", "-q", "-b", "main")
        start(self.own)
        subprocess.run([BIN / "everloop", "ci", "init", "github"], cwd=self.own, check=True, capture_output=True)
        git.run(self.own, "add", "-A")
        git.commit_files(self.own, ["."], "start")
        with opened(self.own) as workspace:
            set_remote(workspace, str(place / "dvc"))
        self.add_data("first.csv", 0, 500)

    def add_data(self, name: str, first: int, last: int) -> None:
        """Let the person add rows of the history as a version, with the product's own command."""
        rows = self.own.parent / name
        history(days=75)[first:last].to_csv(rows, index=False)
        with opened(self.own) as workspace:
            assert add_data(workspace, [str(rows)]).pushed

    def change(self, name: str, before: str, after: str) -> None:
        """Let the person commit a change of a file."""
        path = self.own / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))
        git.commit_files(self.own, [name], f"change {name}")

    def push(self) -> str:
        """Push, as the merge of a pull request, and return the commit."""
        git.run(self.own, "push", "-q", "origin", "main")
        commit = git.commit_of(self.own, "HEAD")
        self.github.pulls[commit] = len(self.github.pulls) + 1
        return commit

    def jobs(self, name: str, event: str = "push", inputs: dict[str, str] | None = None) -> dict[str, Job]:
        workflow = self.own / ".github" / "workflows" / f"everloop-{name}.yml"
        sha = git.commit_of(self.own, "HEAD")
        return self.machine.run(workflow, {"sha": sha, "event_name": event, "event": {}}, inputs)

    def train(self, event: str = "push") -> Job:
        """Run continuous training, whose image job is guarded by a variable that is not set."""
        jobs = self.jobs("ct", event)
        assert jobs["image"].result == "skipped"
        return jobs["train"]

    def train_by_cloud_build(self, cause: str) -> subprocess.CompletedProcess[str]:
        """Run Cloud Build's training step; its `gcloud` is a shell of this machine, which reads what it is sent."""
        bin = self.own.parent / "bin"
        bin.mkdir()
        (bin / "gcloud").write_text("#!/bin/sh\nexec bash -s\n")
        (bin / "gcloud").chmod(0o755)
        values = {"_PROJECT": str(self.live), "_CAUSE": cause, "_MACHINE": "here", "_ZONE": "a", "_KIND": ""}
        values |= {"COMMIT_SHA": git.commit_of(self.own, "HEAD"), "REPO_FULL_NAME": "team/bikes"}
        step = yaml.safe_load(cloud_build.render(describe(self.own))["cloudbuild-ct.yaml"])["steps"][-1]
        named = dict(one.split("=", 1) for one in step["env"])
        variables = {name: values[value.removeprefix("$")] for name, value in named.items()}
        path = {"PATH": f"{bin}:{self.machine.environment['PATH']}"}
        environment, script = {**os.environ, **path, **variables}, step["script"]
        return subprocess.run(["bash", "-c", script], env=environment, text=True, capture_output=True, check=False)

    def rows(self) -> tuple[list[str], list[dict[str, Any]]]:
        """Return the pipeline versions, oldest first, and the models' rows."""
        with opened(self.live) as workspace:
            models = workspace.store.rows(sa.select(store.model_version).order_by(store.model_version.c.number))
            return [row["id"] for row in reversed(versions(workspace))], models


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with pull_requests() as github:
        yield Team(tmp_path, github)


def test_expressions_mean_what_github_says() -> None:
    context: dict[str, Any] = {
        "vars": {"A": "x y"},
        "github": {"event_name": "push", "event": {}},
        "status": {"failure": True},
    }
    told = {
        "vars.A == 'x y'": True,
        "vars.B != ''": False,
        "github.event_name != 'push' && 'data' || ''": "",
        "!vars.B && (failure())": True,
        "github.event.pull_request.head.repo.fork != true": True,
    }
    assert {text: Expression(text, context).value() for text in told} == told


@pytest.mark.slow
@pytest.mark.timeout(900)  # each step is a process that imports everything anew
def test_pushes_of_code_and_of_data_go_their_ways(team: Team) -> None:
    # a change is checked; its image is guarded by a variable that is not set
    checked = team.jobs("ci")
    assert (checked["check"].result, checked["image"].result) == ("success", "skipped"), checked["check"].printed
    ran = [name for name, outcome in checked["check"].outcomes.items() if outcome == "success"]
    assert ran[1:] == ["lint", "data", "test", "pipeline"]
    assert "500 rows fit" in checked["check"].printed["data"]

    # the first push: a version of the pipeline is built, tested and deployed, and a model is trained by it
    first = team.train()
    assert first.result == "success", first.printed
    assert "1 passed" in first.printed["pipeline"]
    pipelines, models = team.rows()
    assert (pipelines, [row["id"] for row in models]) == (["pipeline-1"], ["v1"])
    assert models[0]["commit"] == git.commit_of(team.own, "HEAD")
    assert team.github.comments[1][0]["body"].startswith("<!-- everloop report: toy -->\n## v1 of toy passes its gate")

    # a push of text changes nothing
    (team.own / "README.md").write_text("Bikes.\n")
    git.commit_files(team.own, ["README.md"], "say what it is")
    team.push()
    text = team.train()
    assert (text.result, text.printed["kind"]) == ("success", "nothing\n")
    assert team.rows()[0] == ["pipeline-1"]
    assert len(team.rows()[1]) == 1

    # a push of code: a new version, deployed, and what it trains
    team.change("toy/model.py", "LinearRegression()", "LinearRegression(positive=False)")
    code = team.push()
    second = team.train()
    assert (second.result, second.printed["kind"]) == ("success", "code\n"), second.printed
    pipelines, models = team.rows()
    assert pipelines == ["pipeline-1", "pipeline-2"]
    assert [(row["id"], row["commit"]) for row in models][1:] == [("v2", code)]
    (commented,) = team.github.comments[3]
    assert "champion v1" in commented["body"]
    assert f"code: {code}, pipeline-2" in commented["body"]

    # again for the same commit: no new version of the pipeline, and the same comment, renewed
    again = team.train("workflow_dispatch")
    assert (again.result, again.printed["kind"]) == ("success", "data\n"), again.printed
    assert team.rows()[0] == ["pipeline-1", "pipeline-2"]
    assert [one["id"] for one in team.github.comments[3]] == [commented["id"]]
    assert "## v3 of toy" in team.github.comments[3][0]["body"]

    # a push of data: the deployed version runs on it, none is built
    team.add_data("second.csv", 500, 620)
    team.push()
    data = team.train()
    assert (data.result, data.printed["kind"]) == ("success", "data\n"), data.printed
    pipelines, models = team.rows()
    assert pipelines == ["pipeline-1", "pipeline-2"]
    assert (models[-1]["id"], models[-1]["commit"]) == ("v4", code)
    assert (team.live / "data" / "second.csv").is_file()
    with opened(team.live) as workspace:
        rows = {row["id"]: row["rows"] for row in workspace.store.rows(sa.select(store.data_version))}
    assert rows[models[-1]["data_version"]] == 620
    assert f"{models[-1]['data_version']}, 620 rows" in team.github.comments[4][0]["body"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # each step is a process that imports everything anew
def test_code_that_fails_its_tests_is_neither_merged_nor_deployed(team: Team) -> None:
    assert team.train().result == "success"
    team.change(
        "toy/model.py", "make_pipeline(StandardScaler(), LinearRegression())", "make_pipeline(LinearRegression())"
    )
    team.push()
    checked = team.jobs("ci")["check"]
    assert (checked.result, checked.outcomes["test"], checked.outcomes["pipeline"]) == ("failure", "failure", "skipped")
    trained = team.train()
    assert (trained.result, trained.outcomes["retrain"]) == ("failure", "skipped")
    assert "1 failed" in trained.printed["pipeline"]
    with opened(team.live) as workspace:
        assert [row["id"] for row in versions(workspace) if row["active"]] == ["pipeline-1"]
    assert len(team.rows()[1]) == 1
    # it is not forgotten: the next push, of text alone, meets the same tests
    (team.own / "README.md").write_text("Bikes.\n")
    git.commit_files(team.own, ["README.md"], "say what it is")
    team.push()
    assert team.train().printed["kind"] == "code\n"


@pytest.mark.slow
@pytest.mark.timeout(900)  # each step is a process that imports everything anew
def test_data_that_does_not_fit_is_not_merged(team: Team) -> None:
    bad = team.own / "data" / "first.csv"
    bad.write_text(bad.read_text().replace("2024-01-01T00:00:00Z", "yesterday", 1))
    subprocess.run([BIN / "dvc", "add", "--quiet", "data"], cwd=team.own, check=True)
    subprocess.run([BIN / "dvc", "push", "--quiet"], cwd=team.own, check=True)
    git.commit_files(team.own, ["data.dvc"], "bad data")
    team.push()
    checked = team.jobs("ci")["check"]
    assert (checked.outcomes["data"], checked.outcomes["test"]) == ("failure", "skipped")
    assert "problem: " in checked.printed["data"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # each step is a process that imports everything anew
def test_a_release_is_tried_and_goes_back_where_it_fails(team: Team) -> None:
    assert team.train().result == "success"
    team.add_data("second.csv", 500, 620)
    team.push()
    sent = team.train_by_cloud_build('it\'s "$HOME"; exit 1')
    assert sent.returncode == 0, sent.stderr
    assert "## v2 of toy" in sent.stdout
    assert 'decision: d-2, it\'s "$HOME"; exit 1 of data at ' in sent.stdout
    port = free_port()
    command = [str(BIN / "everloop"), "serve", "--project", str(team.live), "--port", str(port)]
    url, variables = f"http://127.0.0.1:{port}", team.machine.variables
    with (team.live.parent / "serve.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        client = Client(url, "toy")
        client.ready()
        client.close()
        champion = served(team)
        other = {"v1": "v2", "v2": "v1"}[champion]
        # nothing answers at the address of the load test: the release goes back
        variables |= {"EVERLOOP_URL": url, "EVERLOOP_LOAD_URL": f"http://127.0.0.1:{free_port()}"}
        asked = {"action": "release", "version": other, "strategy": "canary"}
        failed = team.jobs("cd", "workflow_dispatch", asked)
        assert failed["rollback"].result == "skipped"
        outcomes = failed["release"].outcomes
        assert outcomes == {"release": "success", "smoke": "success", "load": "failure", "rollback": "success"}, failed[
            "release"
        ].printed
        assert f"['{other}']" in failed["release"].printed["smoke"]
        assert rollouts(team)[-1] == (other, "rolled_back")
        # with a server there, the release stays; a person takes it back
        variables["EVERLOOP_LOAD_URL"] = url
        released = team.jobs("cd", "workflow_dispatch", asked)["release"]
        assert (released.result, released.outcomes["rollback"]) == ("success", "skipped"), released.printed
        assert "requests per second" in released.printed["load"]
        assert rollouts(team)[-1] == (other, "canary")
        back = team.jobs("cd", "workflow_dispatch", {"action": "rollback"})
        assert (back["release"].result, back["rollback"].result) == ("skipped", "success"), back["rollback"].printed
        assert rollouts(team)[-1] == (other, "rolled_back")
        assert served(team) == champion
    finally:
        server.terminate()
        server.wait(30)


def served(team: Team) -> str:
    with opened(team.live) as workspace:
        (row,) = workspace.store.rows(sa.select(store.alias.c.version).where(store.alias.c.name == "champion"))
    return str(row["version"])


def rollouts(team: Team) -> list[tuple[str, str]]:
    with opened(team.live) as workspace:
        rows = workspace.store.rows(sa.select(store.rollout).order_by(store.rollout.c.started))
    return [(row["candidate"], row["status"]) for row in rows]
