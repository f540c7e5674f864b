"""The triggers as the controller meets them: what is decided, stored and run, and that a crash changes nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.projects import write_project
from tests.pushes import START, TRIGGERS, Running, git, more_rows, push, pushed_project

from everloop import store as tables
from everloop.checks import Verdict
from everloop.errors import EverloopError, SettingsError
from everloop.loop.acting import make_ready
from everloop.loop.commands import post
from everloop.loop.controller import Developed
from everloop.loop.trail import show
from everloop.loop.trigger_views import event_of, listing, trial
from everloop.loop.workspace import Workspace, opened
from everloop.store import Connection, Store
from everloop.triggers import ALERT, Stored, objects_event, push_event
from everloop.types import Event

CHEAP = '\n[guards]\noutlier = "off"\nadversarial = "off"\n'


class CrashError(BaseException):
    """Nothing catches it: the process is gone."""


class PointStore(Store):
    """Counts what could be the last thing that a process does, and crashes there once."""

    def __init__(self, url: str, death: int) -> None:
        self.points, self.death = 0, 0
        super().__init__(url)
        self.death = death

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        self._reach()
        with super().begin() as connection:
            yield connection
            self._reach()
        self._reach()

    def _reach(self) -> None:
        self.points += 1
        if self.points == self.death:
            raise CrashError


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its first model, and somebody who works on it."""
    place = tmp_path_factory.mktemp("pushed")
    project, _ = pushed_project(place, TRIGGERS + CHEAP, days=20)
    running = Running(project)
    running.step(START)
    running.close()
    return place


@pytest.fixture
def place(base: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    copy = tmp_path / "copy"
    shutil.copytree(base, copy, symlinks=True)
    for name in ("project", "author"):
        git(copy / name, "remote", "set-url", "origin", str(copy / "remote.git"))
    return copy


def quick(running: Running) -> Running:
    """Let a run do all but train: its version is the first one's model again."""
    first = running.rows(tables.model_version)[0]

    def develop(run: str, _decided: float, asked: Any) -> Developed:
        done = make_ready(running.workspace, run, asked)
        window = first["window"] | {"pipeline": done.get("version", "")}
        verdict = Verdict("test", "pass", "it is the same")
        return Developed(run, first["bundle"], first["sha256"], "data-1", None, window, {}, verdict, (1.0, 2.0))

    running.controller._develop = develop
    return running


@pytest.fixture
def running(place: Path) -> Iterator[Running]:
    made = quick(Running(place / "project"))
    yield made
    made.close()


def other_model(author: Path) -> str:
    model = (author / "toy" / "model.py").read_text()
    return model.replace("LinearRegression()", "LinearRegression(fit_intercept=False)")


@pytest.mark.slow
def test_code_is_built_and_deployed_then_data_runs_what_is_deployed(place: Path) -> None:
    author, running = place / "author", Running(place / "project")
    commit = push(author, toy__model_py=other_model(author))
    running.step(START + 70)
    code = running.last
    assert (code["response"], code["status"], code["evidence"]["triggers"]) == ("retrain", "done", ["code"])
    more_rows(20).to_csv(author / "data" / "more.csv", index=False)
    newer = push(author)
    running.step(START + 140)
    data = running.last
    assert (data["status"], data["evidence"]["triggers"]) == ("done", ["repository_data"])
    assert data["evidence"]["data"] == {"commit": newer, "paths": ["data/more.csv"]}
    (version,) = running.rows(tables.pipeline_version)
    assert version["commit"] == commit
    assert version["deployed"]
    runs = {r["decision"]: r for r in running.rows(tables.run) if r["pipeline"] == "retrain"}
    for decision in (code, data):
        (event,) = decision["events"]
        assert (runs[decision["id"]]["event"], runs[decision["id"]]["commit"]) == (event, commit)
    trained = {v["run"]: v["data_version"] for v in running.rows(tables.model_version)}
    rows = {v["id"]: v["rows"] for v in running.rows(tables.data_version)}
    assert rows[trained[code["run"]]] == 240
    assert rows[trained[data["run"]]] == 300
    assert git(place / "project", "status", "--porcelain") == "A  data/more.csv"  # nothing but the data came
    running.close()


def test_a_push_that_changes_nothing_is_held_once_and_ends(place: Path, running: Running) -> None:
    push(place / "author", README_md="another toy\n")
    running.step(START + 70)
    held = running.last
    assert (held["response"], held["status"]) == ("hold", "done")
    assert held["reason"].endswith("changes neither code nor data: README.md")
    (event,) = running.rows(tables.event)
    assert (event["status"], event["result"]) == ("done", {"decision": held["id"]})
    running.step(START + 140)
    assert running.last["id"] == held["id"]


@pytest.mark.slow
def test_failing_tests_are_a_failed_decision_and_what_was_deployed_stays(place: Path) -> None:
    toml = (place / "author" / "everloop.toml").read_text().replace("code = { test = false }", "code = true")
    (place / "project" / "everloop.toml").write_text(toml)
    running = quick(Running(place / "project"))
    push(
        place / "author", toy__model_py="def regression():\n", tests__test_toy_py="def test_it():\n    assert 1 == 2\n"
    )
    running.step(START + 70)
    assert running.last["status"] == "failed"
    assert "assert 1 == 2" in running.last["evidence"]["outcome"]["error"]
    (version,) = running.rows(tables.pipeline_version)
    assert (version["deployed"], version["tested"]) == (None, None)
    assert len(running.rows(tables.model_version)) == 1
    running.close()


def test_data_that_a_push_would_overwrite_is_not_lost(place: Path, running: Running) -> None:
    project, author = place / "project", place / "author"
    (project / "data" / "history.csv").write_text("mine\n")
    rows = (author / "data" / "history.csv").read_text()
    push(author, data__history_csv=rows + rows.splitlines()[-1] + "\n")
    running.step(START + 70)
    assert running.last["status"] == "failed"
    assert "data/history.csv holds changes that no version has" in running.last["evidence"]["outcome"]["error"]
    assert (project / "data" / "history.csv").read_text() == "mine\n"


def test_one_thing_told_twice_is_one_and_a_branch_that_goes_back_is_news(place: Path, running: Running) -> None:
    author, store = place / "author", running.workspace.store
    first = git(author, "rev-parse", "HEAD")
    second = push(author, toy__model_py=other_model(author))
    third = push(author, toy__more_py="x = 1\n")
    running.step(START + 70)  # the poll sees both as one
    told = {"branch": "main", "time": START + 71, "source": "hook"}
    for event in (
        push_event(commit=third, before=first, **told),  # type: ignore[arg-type]
        push_event(commit=second, before=first, **told),  # type: ignore[arg-type]
        push_event(commit=third, before=second, **told),  # type: ignore[arg-type]
    ):
        post(store, event)
    running.step(START + 72)
    assert [d["response"] for d in running.rows(tables.decision)] == ["retrain", "retrain", "hold", "hold"]
    assert running.last["reason"].endswith("was answered already")
    git(author, "reset", "-q", "--hard", second)
    git(author, "push", "-q", "-f", "origin", "main")
    running.step(START + 140)
    assert (running.last["response"], running.last["evidence"]["code"]["commit"]) == ("retrain", second)
    assert {e["status"] for e in running.rows(tables.event)} == {"done"}


def test_what_comes_too_soon_waits_and_is_told_once(place: Path, running: Running) -> None:
    store, url = running.workspace.store, "inbox"
    (place / "project" / "inbox" / "a.csv").write_text(more_rows(20).to_csv(index=False))
    post(store, objects_event(url, [Stored("a.csv", 1, "e1")], time=START + 100, source="hook"))
    for seconds in (101, 102, 103):
        running.controller.step(START + seconds)
    held = running.last
    assert held["response"] == "hold"
    assert held["reason"].startswith("inbox has new a.csv: storage waits for quiet until 2024-03-09T16:01:45Z")
    assert [e["status"] for e in running.rows(tables.event)] == ["new"]
    running.controller.step(START + 106)
    assert (running.last["response"], running.last["number"]) == ("retrain", held["number"] + 1)
    assert (place / "project" / "data" / "a.csv").is_file()


def test_commits_of_the_loop_itself_start_nothing(place: Path, running: Running) -> None:
    project = place / "project"
    base = git(project, "rev-parse", "HEAD")
    (project / "data" / "x.csv").write_text("1\n")
    git(project, "add", "data/x.csv")
    git(project, "commit", "-qm", "data: add x.csv\n\nEverloop-Run: r")
    own = git(project, "rev-parse", "HEAD")
    post(running.workspace.store, push_event(branch="main", commit=own, before=base, time=START + 1, source="hook"))
    running.controller.step(START + 2)
    assert running.last["reason"] == f"push {own[:10]} holds only what the loop committed itself"


def test_a_trial_says_what_would_happen_and_stores_nothing(place: Path, running: Running) -> None:
    workspace = running.workspace
    before = running.rows(tables.decision), running.rows(tables.event), running.rows(tables.state)
    commit = push(place / "author", toy__model_py=other_model(place / "author"))
    base = git(place / "project", "rev-parse", "HEAD")
    event = push_event(branch="main", commit=commit, before=base, time=START, source="test")
    assert "is not in the repository" in trial(workspace, event, START + 1)["reason"]  # nothing is fetched
    git(place / "project", "fetch", "-q")
    told = trial(workspace, event, START + 1)
    assert (told["would"], told["triggers"], told["does"]["code"]["commit"]) == ("retrain", ["code"], commit)
    text = msgspec.json.encode({"type": "everloop.alert", "specversion": "1.0", "time": "2024-03-09T16:00:00Z"})
    assert trial(workspace, event_of(text, START), START)["reason"] == "alert is turned off in [triggers]"
    assert (running.rows(tables.decision), running.rows(tables.event), running.rows(tables.state)) == before
    post(workspace.store, event)
    assert trial(workspace, event, START)["would"] == "nothing"


GOOGLE = {"type": "google.cloud.storage.object.v1.finalized", "data": {"bucket": "rides", "name": "jan.csv"}}
AWS = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "rides"}, "object": {"key": "jan.csv"}}}
ALERTED = {"status": "firing", "startsAt": "2026-01-02T03:04:05Z", "labels": {"alertname": "slow"}, "fingerprint": "c"}
PUSHED = {"ref": "refs/heads/main", "before": "a" * 40, "after": "b" * 40, "commits": []}


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        (GOOGLE, "gs://rides"),
        (GOOGLE | {"specversion": "1.0", "id": "7", "source": "//storage"}, "gs://rides"),
        ({"Records": [AWS]}, "s3://rides"),
        ({"alerts": [ALERTED]}, "slow"),
        (PUSHED | {"repository": {"full_name": "a/b"}}, "refs/heads/main"),
        (PUSHED | {"object_kind": "push", "project": {"path_with_namespace": "a/b"}}, "refs/heads/main"),
    ],
)
def test_a_trial_takes_what_a_webhook_takes(body: dict[str, Any], subject: str) -> None:
    assert event_of(msgspec.json.encode(body), START).subject == subject


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{bad", "the file holds no event: JSON is malformed"),
        (b"[1]", "the file holds no event: Expected `object`, got `array`"),
        (b"{}", "the file holds no event: 'type' must be a text, not None; write type, source, .* as CloudEvents do"),
        (b'{"ref": "refs/heads/main"}', "the file holds no event: 'repository' must be an object"),
        (b'{"type": "weird"}', "no trigger takes 'weird': there are everloop.push"),
        (b'{"alerts": []}', "the file holds nothing that a trigger takes: those are alerts that fire"),
        (msgspec.json.encode({"alerts": [ALERTED, ALERTED]}), "the file holds 2 events that a trigger takes"),
    ],
)
def test_what_is_no_event_is_told_in_a_sentence(text: bytes, words: str) -> None:
    with pytest.raises(EverloopError, match=words):
        event_of(text, START)


def test_what_is_no_commit_is_never_asked_of_git(running: Running) -> None:
    wrong = push_event(branch="main", commit="--output=x", before="--help", time=START, source="hook")
    unknown = push_event(branch="main", commit="ab" * 20, before="", time=START, source="hook")
    for event in (wrong, unknown):
        post(running.workspace.store, event)
    running.controller.step(START + 1)
    reasons = [d["reason"] for d in running.rows(tables.decision)][1:]
    assert reasons == [
        "push --output=x cannot be seen: '--output=x' is no commit",
        "push ababababab waits: commit ababababab is not in the repository",
    ]
    running.controller.step(START + 90_000)
    assert running.last["reason"] == "push ababababab cannot be seen: commit ababababab is not in the repository"
    assert {e["status"] for e in running.rows(tables.event)} == {"done"}


def test_the_list_names_each_trigger_with_its_last_decision(place: Path, running: Running) -> None:
    post(running.workspace.store, Event("a", ALERT, "test", START + 1, "Slow"))
    push(place / "author", toy__model_py=other_model(place / "author"))
    running.step(START + 70)
    rows = {row["trigger"]: row for row in listing(running.workspace, START + 71)}
    assert [name for name, row in rows.items() if row["on"]] == ["code", "repository_data", "storage", "schedule"]
    assert rows["code"]["last"].startswith("d-3 retrain: push ")
    assert rows["alert"]["last"] == "d-2 hold: alert is turned off in [triggers]"
    assert rows["schedule"]["last"] == ""


def test_an_event_leads_to_the_decisions_on_it_and_what_came_of_them(place: Path, running: Running) -> None:
    post(running.workspace.store, Event("a", ALERT, "test", START + 1, "Slow"))
    running.step(START + 2)
    push(place / "author", toy__model_py=other_model(place / "author"))
    running.step(START + 70)
    refused, acted = running.rows(tables.decision)[-2:]
    assert show(running.workspace, "a").links == {"decision": [refused["id"]]}
    (event,) = acted["events"]
    version = next(v["id"] for v in running.rows(tables.model_version) if v["run"] == acted["run"])
    links = show(running.workspace, event).links
    assert (links["decision"], links["run"], links["version"]) == ([acted["id"]], [acted["run"]], [version])
    back = show(running.workspace, acted["id"]).links
    assert (back["event"], back["version"]) == ([event], [version])
    assert links.get("rollout") == back.get("rollout")


def test_the_list_says_where_nothing_is_to_be_watched(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project", days=5)
    file, before = folder / "everloop.toml", "[triggers]\n"

    def note(storage: str) -> str:
        file.write_text(text.replace(before, f"{before}storage = {storage}\n"))
        with opened(folder) as workspace:
            return str({row["trigger"]: row["note"] for row in listing(workspace, START)}["storage"])

    text = file.read_text()
    assert note("true") == note("false") == ""  # the data folder is there
    assert note('{ url = "inbox" }').startswith(f"nothing is at {folder / 'inbox'} yet: ")
    (folder / "inbox").mkdir()
    assert note('{ url = "inbox" }') == ""
    assert "nosuch" in note('{ url = "nosuch://bucket" }')


def happen(place: Path, trigger: str) -> None:
    if trigger == "storage":
        more_rows(20).to_csv(place / "project" / "inbox" / "more.csv", index=False)
    elif trigger == "code":
        push(place / "author", toy__model_py=other_model(place / "author"))


def outcome(running: Running) -> dict[str, Any]:
    return {
        "decisions": [(d["id"], d["time"], d["response"], d["status"]) for d in running.rows(tables.decision)],
        "versions": [v["id"] for v in running.rows(tables.model_version)],
        "pipelines": [v["id"] for v in running.rows(tables.pipeline_version)],
        "events": [(e["id"], e["status"], e["result"]) for e in running.rows(tables.event)],
    }


def live(place: Path, trigger: str, death: int) -> tuple[int, dict[str, Any]]:
    """Work until nothing is left, through one crash; returns how many points there were, and what is there then."""
    stores: list[PointStore] = []

    def mortal(workspace: Workspace) -> None:
        workspace.store.close()
        stores.append(PointStore(str(workspace.store.url), death if not stores else 0))
        workspace.store = stores[-1]

    times = {"code": [70.0, 80.0], "storage": [70.0, 80.0]}[trigger]
    while True:
        running = quick(Running(place / "project", mortal))
        try:
            while times:
                running.step(START + times[0])
                times.pop(0)
            return stores[0].points, outcome(running)
        except CrashError:
            pass
        finally:
            running.close()


@pytest.mark.parametrize("trigger", [pytest.param("code", marks=pytest.mark.slow), "storage"])
def test_a_crash_around_any_transaction_leaves_one_decision_and_one_version(
    base: Path, tmp_path: Path, trigger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def copied(name: str) -> Path:
        copy = tmp_path / name
        shutil.copytree(base, copy, symlinks=True)
        for inner in ("project", "author"):
            git(copy / inner, "remote", "set-url", "origin", str(copy / "remote.git"))
        return copy

    base = copied("happened")
    happen(base, trigger)
    points, alive = live(copied("calm"), trigger, 0)
    assert [d[2:] for d in alive["decisions"]] == [("retrain", "done")] * 2
    assert alive["versions"] == ["v1", "v2"]
    for death in range(1, points + 1):
        _, found = live(copied(str(death)), trigger, death)
        assert found == alive, death
    with capsys.disabled():
        print(f"\ntriggers: {trigger} crashed at {points} points")
    assert points > 9


@pytest.mark.parametrize(
    ("triggers", "words"),
    [
        ("when = 'data_drift & nosuch'", "nosuch"),
        ("schedule = { cron = '0 25 * * *' }", "cron = '0 25"),
        ("data_drift = true\nnew_labels = true\nwhen = 'data_drift and new_labels'", "when"),
    ],
)
def test_the_list_refuses_what_the_controller_would(tmp_path: Path, triggers: str, words: str) -> None:
    folder = write_project(tmp_path / "project", days=5)
    file = folder / "everloop.toml"
    file.write_text(file.read_text().replace("[triggers]\n", f"[triggers]\n{triggers}\n"))
    with opened(folder) as workspace, pytest.raises(SettingsError, match=words) as caught:
        listing(workspace, START)
    assert caught.value.line
