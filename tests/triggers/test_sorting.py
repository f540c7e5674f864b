"""What events mean: which trigger takes them, which end without one, and that one thing told twice is one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.test_settings import SMALL

from everloop.settings import Settings, parse
from everloop.triggers import (
    ALERT,
    OBJECTS,
    Book,
    Looked,
    Sorted,
    Stored,
    classify,
    objects_event,
    pulled_event,
    push_event,
    sort_events,
)
from everloop.types import Event


def settings(triggers: str, source: str = "data/*.csv") -> Settings:
    return parse(SMALL.replace("[data]\n", f"[data]\nsource = '{source}'\n") + f"[triggers]\n{triggers}")


def push(commit: str = "c1", before: str = "c0", time: float = 1.0, branch: str = "main") -> Event:
    return push_event(branch=branch, commit=commit, before=before, time=time, source="test")


def objects(*names: str, etag: str = "e1", url: str = "s3://bucket/rides", time: float = 1.0) -> Event:
    return objects_event(url, [Stored(name, 1, etag) for name in names], time=time, source="test")


def sort(triggers: str, *events: Event, book: Book | None = None, **paths: Any) -> Sorted:
    looked = {e.id: Looked(tuple(paths.get(str(e.data.get("commit")), ()))) for e in events}
    return sort_events(events, looked, settings(triggers), book or Book())


BOTH = "code = true\nrepository_data = true\n"


@pytest.mark.parametrize(
    ("paths", "trigger", "does"),
    [
        (["toy/model.py"], "code", ["code", "push"]),
        (["everloop.toml"], "code", ["code", "push"]),
        (["data.dvc", ".gitignore", "schema.toml"], "repository_data", ["data", "push"]),
        (["data/june.csv"], "repository_data", ["data", "push"]),
        (["toy/model.py", "data.dvc"], "code", ["code", "data", "push"]),
    ],
)
def test_a_push_is_code_data_or_both(paths: list[str], trigger: str, does: list[str]) -> None:
    found = sort(BOTH, push(), c1=paths)
    (name, seen), *others = found.occurrences.items()
    assert (name, sorted(seen.evidence), others, found.finals) == (trigger, does, [], [])


@pytest.mark.parametrize(
    ("triggers", "paths", "told"),
    [
        (BOTH, ["README.md", "docs/a.png"], "push c1 changes neither code nor data: README.md, docs/a.png"),
        ("code = true", ["data.dvc"], "push c1 changes no code: data.dvc"),
        ("repository_data = true", ["toy/model.py"], "push c1 changes no data: toy/model.py"),
        ("", ["toy/model.py"], "code and repository_data are turned off in [triggers]"),
        ("code = { branch = 'release' }", ["toy/model.py"], "branch 'main' is not watched"),
    ],
)
def test_a_push_that_starts_nothing_ends_with_its_reason(triggers: str, paths: list[str], told: str) -> None:
    found = sort(triggers, push(), c1=paths)
    assert [final.reason for final in found.finals] == [told]
    assert found.occurrences == {}


@pytest.mark.parametrize(
    ("looked", "told"),
    [
        (Looked(contained=True), "push c1 was answered already"),
        (Looked(own=True), "push c1 holds only what the loop committed itself"),
        (Looked(missing="no such commit", given_up=True), "push c1 cannot be seen: no such commit"),
    ],
)
def test_what_git_says_of_a_push_may_end_it(looked: Looked, told: str) -> None:
    event = push()
    found = sort_events([event], {event.id: looked}, settings(BOTH), Book())
    assert [final.reason for final in found.finals] == [told]


def test_a_commit_that_is_not_here_yet_waits() -> None:
    event = push()
    found = sort_events([event], {event.id: Looked(missing="the remote is away")}, settings(BOTH), Book())
    assert found.finals == []
    assert found.occurrences["push"].reason == "push c1 waits: the remote is away"


def test_pushes_that_wait_are_one_run_or_one_each() -> None:
    events = [push("c1", "c0", 1.0), push("c2", "c1", 2.0)]
    paths: dict[str, Any] = {"c1": ["toy/model.py"], "c2": ["data.dvc"]}
    newest = sort(BOTH, *events, **paths).occurrences
    assert newest["code"].evidence["code"]["commit"] == newest["code"].evidence["data"]["commit"] == "c2"
    assert (newest["code"].events, newest["code"].time) == ((events[0].id, events[1].id), 2.0)
    queued = sort(BOTH + "busy = 'queue'\n", *events, **paths).occurrences
    assert list(queued) == ["code"]
    assert (queued["code"].events, queued["code"].evidence["push"]["commit"]) == ((events[0].id,), "c1")


def test_the_project_may_be_a_folder_of_its_repository() -> None:
    changes = classify(["ml/toy/model.py", "ml/data.dvc", "web/index.js"], "data/*.csv", (), "ml/")
    assert (changes.code, changes.data, changes.other) == (("toy/model.py",), ("data.dvc",), ("web/index.js",))


STORAGE = "storage = { url = 's3://bucket/rides' }\n"


@pytest.mark.parametrize(
    ("triggers", "event", "told"),
    [
        ("", objects("a.csv"), "storage is turned off in [triggers]"),
        (
            STORAGE,
            objects("a.csv", url="s3://bucket/walks"),
            "s3://bucket/walks/a.csv lies outside of s3://bucket/rides",
        ),
        (STORAGE, objects("../b.csv"), "s3://bucket/rides/../b.csv lies outside of s3://bucket/rides"),
        (STORAGE, objects("a.txt"), "s3://bucket/rides/a.txt is not what [data] source takes ('*.csv')"),
        (STORAGE, objects(), "names no object"),
        (STORAGE, objects("old.csv"), "s3://bucket/rides/old.csv was taken already, with this content"),
    ],
)
def test_objects_that_start_nothing_end_with_their_reason(triggers: str, event: Event, told: str) -> None:
    found = sort(triggers, event, book=Book(objects={"s3://bucket/rides/old.csv": "e1"}))
    assert [final.reason for final in found.finals] == [told]


def test_a_folder_beside_the_project_is_watched_by_its_relative_name() -> None:
    found = sort("storage = { url = '../inbox' }\n", objects("a.csv", url="../inbox"))
    assert found.occurrences["storage"].reason == "../inbox has new a.csv"
    found = sort("storage = { url = '../inbox' }\n", objects("../a.csv", url="../inbox"))
    assert [final.reason for final in found.finals] == ["../inbox/../a.csv lies outside of ../inbox"]


def test_new_objects_of_several_events_are_one_occurrence() -> None:
    book = Book(objects={"s3://bucket/rides/a.csv": "e0"})
    found = sort(STORAGE, objects("a.csv"), objects("june/b.csv", url="s3://bucket", etag='"e2"'), book=book)
    assert [final.reason for final in found.finals] == ["s3://bucket/june/b.csv lies outside of s3://bucket/rides"]
    assert found.occurrences["storage"].evidence["objects"] == [
        {"url": "s3://bucket/rides/a.csv", "etag": "e1", "size": 1}
    ]


def test_a_poll_and_a_webhook_of_one_thing_have_one_id() -> None:
    told: dict[str, Any] = {"branch": "main", "commit": "c1", "before": "c0"}
    poll = push_event(**told, time=1.0, source="poll", repository="/here", paths=["a"])
    hook = push_event(**told, time=9.0, source="github", repository="https://example.org/a")
    assert poll.id == hook.id
    back = push_event(branch="main", commit="c0", before="c1", time=2.0, source="poll")
    assert back.id != push_event(branch="main", commit="c0", before="", time=2.0, source="poll").id
    listed, notified = objects("a.csv", "b.csv", etag="e"), objects("b.csv", "a.csv", etag='"e"', time=5.0)
    assert listed.id == notified.id
    assert listed.id != objects("a.csv", "b.csv", etag="other").id


def test_alerts_are_off_or_name_themselves() -> None:
    alert = Event("a-1", ALERT, "alertmanager", 1.0, "EverloopErrors", {"status": "firing"})
    assert sort("", alert).finals[0].reason == "alert is turned off in [triggers]"
    asked = "alert = { names = ['Everloop*'] }\n"
    assert sort(asked, alert).occurrences["alert"].reason == "alert EverloopErrors"


@pytest.mark.parametrize(
    ("triggers", "name", "status", "told"),
    [
        ("alert = true\n", "Shop", "resolved", "alert Shop is resolved"),
        (
            "alert = true\n",
            "EverloopServerDown",
            "firing",
            "alert EverloopServerDown is not among [triggers.alert] names",
        ),
        ("alert = { names = ['Ride*'] }\n", "Shop", "firing", "alert Shop is not among [triggers.alert] names"),
    ],
)
def test_an_alert_that_is_over_or_not_asked_for_ends(triggers: str, name: str, status: str, told: str) -> None:
    found = sort(triggers, Event("a-1", ALERT, "alertmanager", 1.0, name, {"status": status}))
    assert [final.reason for final in found.finals] == [told]
    assert found.occurrences == {}


@pytest.mark.parametrize(
    "told", [{}, {"objects": "x"}, {"objects": None}, {"objects": ["a"]}, {"objects": [{"size": 1}]}]
)
def test_objects_that_cannot_be_read_end(told: dict[str, Any]) -> None:
    found = sort(STORAGE, Event("o-1", OBJECTS, "me", 1.0, "", told))
    assert [final.reason for final in found.finals] == ["names no object"]


def test_pulls_are_off_or_tell_what_they_brought() -> None:
    pulled = pulled_event("shop", "shop-000001.csv", 1200, "c1", time=1.0)
    assert sort("", pulled).finals[0].reason == "sources is turned off in [triggers]"
    assert sort("sources = true\n", pulled).occurrences["sources"].reason == "sources 1,200 rows from shop"
    assert pulled_event("shop", "shop-000001.csv", 1200, "c1", time=9.0).id == pulled.id
