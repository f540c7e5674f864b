"""What others send, in the forms in which they send it; a repeated notice has the same id."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from everloop.errors import RequestError
from everloop.loop.notices import Header, alertmanager, cloud_events, github, gitlab, s3
from everloop.triggers import Stored, objects_event, push_event

CLOUD = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "shop.sold", "time": "2026-01-02T03:04:05Z"}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
PUSHED = {
    "ref": "refs/heads/main",
    "before": "a" * 40,
    "after": "b" * 40,
    "commits": [{"added": ["data/new.csv.dvc"], "modified": ["rides.py"], "removed": []}, {"modified": ["rides.py"]}],
}
ALERT = {
    "status": "firing",
    "labels": {"alertname": "EverloopDataDrift", "column": "temp"},
    "annotations": {"summary": "temp moved"},
    "startsAt": "2026-01-02T03:04:05.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "c0ffee",
}


def headers(found: dict[str, str]) -> Header:
    return lambda name: found.get(name)


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_cloud_event_in_each_of_its_modes() -> None:
    body = as_bytes(CLOUD | {"data": {"n": 1}})
    [structured] = cloud_events(body, headers(STRUCTURED), 9.0)
    batch = {"content-type": "application/cloudevents-batch+json"}
    assert cloud_events(b"[" + body + b"]", headers(batch), 9.0) == [structured]
    binary = {f"ce-{name}": value for name, value in CLOUD.items()} | {"content-type": "application/json"}
    assert cloud_events(b'{"n": 1}', headers(binary), 9.0) == [structured]
    encoded = {"data_base64": base64.b64encode(b'{"n": 1}').decode()}
    assert cloud_events(as_bytes(CLOUD | encoded), headers(STRUCTURED), 9.0) == [structured]
    assert (structured.id, structured.type, structured.time) == ("/shop 7", "shop.sold", 1767323045.0)
    assert structured.data == {"n": 1}
    [bare] = cloud_events(
        as_bytes({k: v for k, v in CLOUD.items() if k != "time"} | {"data": 3}), headers(STRUCTURED), 9.0
    )
    assert (bare.time, bare.data) == (9.0, {"value": 3})


def test_an_object_of_google_is_one_in_a_bucket() -> None:
    told = CLOUD | {
        "type": "google.cloud.storage.object.v1.finalized",
        "data": {"bucket": "rides", "name": "2026/jan.csv", "size": "12", "etag": "x"},
    }
    [event] = cloud_events(as_bytes(told), headers(STRUCTURED), 9.0)
    assert (event.type, event.subject) == ("everloop.objects", "gs://rides")
    assert event.data == {"url": "gs://rides", "objects": [{"name": "2026/jan.csv", "size": 12, "etag": "x"}]}


def test_objects_of_s3_are_one_event_a_bucket() -> None:
    def record(bucket: str, key: str, kind: str = "s3:ObjectCreated:Put") -> dict[str, Any]:
        made = {"key": key, "size": 3, "eTag": "e", "sequencer": "1"}
        return {"eventName": kind, "s3": {"bucket": {"name": bucket}, "object": made}}

    records = [record("a", "x%2Fone+two.csv"), record("b", "y"), record("a", "gone", "s3:ObjectRemoved:Delete")]
    events = s3(as_bytes({"Records": records}), headers({}), 9.0)
    assert [event.subject for event in events] == ["s3://a", "s3://b"]
    assert events[0].data["objects"] == [{"name": "x/one two.csv", "size": 3, "etag": "e"}]
    assert s3(as_bytes({"Records": records[::-1]}), headers({}), 10.0)[1].id == events[0].id
    polled = objects_event("s3://a", [Stored("x/one two.csv", 3, '"e"')], time=1.0, source="poll")
    assert polled.id == events[0].id  # what is told and found too is one event
    assert s3(as_bytes({"Records": [record("a", "other")]}), headers({}), 9.0)[0].id != events[0].id


def test_a_push_of_github_and_of_gitlab() -> None:
    told = headers({"x-github-event": "push", "x-github-delivery": "d-1"})
    [event] = github(as_bytes(PUSHED | {"repository": {"full_name": "me/rides"}}), told, 9.0)
    assert (event.type, event.subject, event.time) == ("everloop.push", "refs/heads/main", 9.0)
    polled = push_event(branch="main", commit="b" * 40, before="a" * 40, time=1.0, source="poll")
    assert event.id == polled.id
    expected = {
        "commit": "b" * 40, "before": "a" * 40, "repository": "me/rides", "branch": "main",
        "paths": ["data/new.csv.dvc", "rides.py"],
    }  # fmt: skip
    assert event.data == expected
    told = headers({"x-gitlab-event": "Push Hook", "x-gitlab-event-uuid": "u", "idempotency-key": "k"})
    body = PUSHED | {"project": {"path_with_namespace": "me/rides"}, "total_commits_count": 30}
    [event] = gitlab(as_bytes(body), told, 9.0)
    del expected["paths"]  # not all commits are told: git says what changed
    assert (event.id, event.data) == (polled.id, expected)


def test_what_is_no_push_is_taken_and_not_stored() -> None:
    assert github(b"{}", headers({"x-github-event": "ping"}), 9.0) == []
    assert gitlab(b"{}", headers({"x-gitlab-event": "Issue Hook"}), 9.0) == []
    tag = PUSHED | {"ref": "refs/tags/v1", "repository": {}}
    assert github(as_bytes(tag), headers({"x-github-event": "push"}), 9.0) == []
    removed = PUSHED | {"after": "0" * 40, "repository": {}}
    assert github(as_bytes(removed), headers({"x-github-event": "push", "x-github-delivery": "d"}), 9.0) == []


def test_each_alert_is_an_event_and_its_end_another() -> None:
    [firing] = alertmanager(as_bytes({"alerts": [ALERT]}), headers({}), 9.0)
    assert (firing.type, firing.subject, firing.time) == ("everloop.alert", "EverloopDataDrift", 1767323045.123456)
    assert firing.data == {name: ALERT[name] for name in ("status", "labels", "annotations")}
    ended = ALERT | {"status": "resolved", "endsAt": "2026-01-02T04:04:05+01:00"}
    [resolved] = alertmanager(as_bytes({"alerts": [ended]}), headers({}), 9.0)
    assert (resolved.time, resolved.id == firing.id) == (1767323045.0, False)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"{", STRUCTURED, "the body is not JSON"),
        (b"[]", STRUCTURED, "a CloudEvent is a JSON object"),
        (b"{}", {}, "no CloudEvent"),
        (b"{}", {"content-type": "application/cloudevents-batch+json"}, "a JSON array"),
        (as_bytes(CLOUD | {"specversion": "0.3"}), STRUCTURED, "CloudEvents 1.0 are taken"),
        (as_bytes(CLOUD | {"id": 7}), STRUCTURED, "'id' must be a text, not 7"),
        (as_bytes(CLOUD | {"source": ""}), STRUCTURED, "not empty"),
        (as_bytes(CLOUD | {"time": "now"}), STRUCTURED, "RFC 3339"),
        (as_bytes(CLOUD | {"data_base64": "?"}), STRUCTURED, "not base64"),
        (as_bytes(CLOUD | {"type": "t" * 256}), STRUCTURED, "at most 255"),
    ],
)
def test_a_wrong_cloud_event_is_told_in_a_sentence(body: bytes, kind: dict[str, str], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        cloud_events(body, headers(kind), 9.0)
    assert caught.value.http_status == 400
    assert "\n" not in str(caught.value)


def test_a_wrong_notice_is_told_in_a_sentence() -> None:
    with pytest.raises(RequestError, match="'alerts' must be an array"):
        alertmanager(b"{}", headers({}), 9.0)
    with pytest.raises(RequestError, match="'Records' must be an array"):
        s3(b"{}", headers({}), 9.0)
    with pytest.raises(RequestError, match="'repository' must be an object"):
        github(as_bytes(PUSHED), headers({"x-github-event": "push"}), 9.0)
    with pytest.raises(RequestError, match="'project' must be an object"):
        gitlab(as_bytes(PUSHED), headers({"x-gitlab-event": "Push Hook"}), 9.0)


def test_objects_and_pushes_told_as_cloud_events_are_those_that_a_poll_finds() -> None:
    told = {"url": "s3://a/", "objects": [{"name": "x.csv", "etag": '"e"', "size": 3}]}
    [event] = cloud_events(as_bytes(CLOUD | {"type": "everloop.objects", "data": told}), headers(STRUCTURED), 9.0)
    assert event.id == objects_event("s3://a", [Stored("x.csv", 3, "e")], time=0.0, source="poll").id
    moved = {"branch": "main", "commit": "b" * 40, "before": "a" * 40}
    [event] = cloud_events(as_bytes(CLOUD | {"type": "everloop.push", "data": moved}), headers(STRUCTURED), 9.0)
    assert event.id == push_event(**moved, time=0.0, source="poll").id


def test_objects_without_a_mark_are_told_apart_by_the_event() -> None:
    told = {"url": "s3://a", "objects": [{"name": "x.csv"}]}
    ids = set()
    for id in ("1", "2"):
        [event] = cloud_events(
            as_bytes(CLOUD | {"id": id, "type": "everloop.objects", "data": told}), headers(STRUCTURED), 9.0
        )
        ids.add(event.id)
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("type", "data", "words"),
    [
        ("everloop.objects", {"objects": "x"}, "'objects' must be an array, not 'x'"),
        ("everloop.objects", {"objects": None}, "'objects' must be an array, not None"),
        ("everloop.objects", {"objects": ["a.csv"]}, "an object of a bucket is a JSON object, not 'a.csv'"),
        ("everloop.objects", {"url": "s3://a", "objects": [{"size": 1}]}, "'name' must be a text, not None"),
        ("everloop.objects", {"objects": [{"name": "a"}]}, "'url' must be a text, not None"),
        ("everloop.push", {"branch": "main"}, "'commit' must be a text, not None"),
    ],
)
def test_what_a_trigger_could_not_read_is_refused(type: str, data: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        cloud_events(as_bytes(CLOUD | {"type": type, "data": data}), headers(STRUCTURED), 9.0)
