"""What others tell, as events: CloudEvents, pushes of GitHub and GitLab, alerts, objects in a bucket.

Each reads a body that was authenticated and returns the events in it. A push and objects have the ids that a poll gives
them, so that what is told and found too is one event.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from everloop.errors import RequestError
from everloop.triggers import ALERT, OBJECTS, PUSH, Stored, objects_event, push_event
from everloop.types import Event, parse_time

__all__ = ["ALERT", "OBJECTS", "PUSH", "alertmanager", "cloud_events", "github", "gitlab", "s3"]

GOOGLE_OBJECT = "google.cloud.storage.object.v1.finalized"
_LONGEST = 255

Header = Callable[[str], str | None]


def cloud_events(body: bytes, header: Header, now: float) -> list[Event]:
    """Return the events of CloudEvents 1.0: structured, a batch, or binary; `now` where one names no time."""
    kind = (header("content-type") or "").split(";")[0].strip().lower()
    if kind == "application/cloudevents-batch+json":
        batch = _json(body)
        if not isinstance(batch, list):
            raise RequestError("a batch of CloudEvents is a JSON array")
        return [_cloud_event(found, now) for found in batch]
    if kind == "application/cloudevents+json":
        return [_cloud_event(_json(body), now)]
    if header("ce-specversion") is not None:
        names = ("specversion", "id", "source", "type", "subject", "time")
        found = {name: unquote_plus(value.replace("+", "%2B")) for name in names if (value := header(f"ce-{name}"))}
        return [_cloud_event(found | {"data": _json(body) if body else {}}, now)]
    raise RequestError("no CloudEvent: send application/cloudevents+json, its batch, or the headers ce-*")


def github(body: bytes, header: Header, now: float) -> list[Event]:
    """Return the push that a webhook of GitHub tells; its other events are taken and not stored."""
    if header("x-github-event") != "push":
        return []
    told = _object(_json(body), "a push")
    return _push("github", told, _field(told, "repository", dict).get("full_name"), now)


def gitlab(body: bytes, header: Header, now: float) -> list[Event]:
    """Return the push that a webhook of GitLab tells; its other events are taken and not stored."""
    if header("x-gitlab-event") != "Push Hook":
        return []
    told = _object(_json(body), "a push")
    return _push("gitlab", told, _field(told, "project", dict).get("path_with_namespace"), now)


def alertmanager(body: bytes, header: Header, now: float) -> list[Event]:  # noqa: ARG001 - the same call for all
    """Return one event for each alert of a notification."""
    return [_alert(alert) for alert in _field(_object(_json(body), "a notification"), "alerts", list)]


def s3(body: bytes, header: Header, now: float) -> list[Event]:  # noqa: ARG001 - the same call for all
    """Return one event for each bucket in which objects were made, by the notification of S3 or MinIO."""
    buckets: dict[str, list[Stored]] = {}
    for record in _field(_object(_json(body), "a notification"), "Records", list):
        if "ObjectCreated" not in str(_object(record, "a record").get("eventName", "")):
            continue
        place = _field(record, "s3", dict)
        bucket, made = _field(_field(place, "bucket", dict), "name", str), _field(place, "object", dict)
        mark = made.get("eTag") or made.get("versionId") or made.get("sequencer") or record.get("eventTime")
        buckets.setdefault(bucket, []).append(_stored(unquote_plus(_field(made, "key", str)), made.get("size"), mark))
    return [objects_event(f"s3://{name}", made, time=now, source="s3") for name, made in buckets.items()]


def _cloud_event(found: Any, now: float) -> Event:
    event = _object(found, "a CloudEvent")
    if event.get("specversion") != "1.0":
        raise RequestError(f"specversion {event.get('specversion')!r}: CloudEvents 1.0 are taken")
    id, source, type = (_field(event, name, str) for name in ("id", "source", "type"))
    if not (id and source and type):
        raise RequestError("a CloudEvent needs an id, a source and a type that are not empty")
    known, data = _id(f"{source} {id}"), _data(event)
    if type == GOOGLE_OBJECT:
        made = [_stored(_field(data, "name", str), data.get("size"), data.get("etag") or data.get("generation") or id)]
        moment = _time(event.get("time"), now)
        return objects_event(f"gs://{_field(data, 'bucket', str)}", made, time=moment, source="gs")
    if type == OBJECTS:
        told = [_object(one, "an object of a bucket") for one in _field(data, "objects", list)]
        made = [_stored(_field(one, "name", str), one.get("size"), one.get("etag") or id) for one in told]
        return objects_event(
            _field(data, "url", str), made, time=_time(event.get("time"), now), source=source[:_LONGEST]
        )
    if type == PUSH:
        told_push = {name: _field(data, name, str) for name in ("branch", "commit", "before")}
        return _bounded(push_event(**told_push, time=_time(event.get("time"), now), source=source[:_LONGEST]))
    subject = str(event.get("subject") or "")
    if max(map(len, (type, source, subject))) > _LONGEST:
        raise RequestError(f"type, source and subject of a CloudEvent have at most {_LONGEST} characters here")
    return Event(known, type, source, _time(event.get("time"), now), subject, data)


def _data(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a CloudEvent as an object; what is none becomes its `value`."""
    data = event.get("data")
    if "data_base64" in event:
        try:
            data = _json(base64.b64decode(_field(event, "data_base64", str), validate=True))
        except binascii.Error as error:
            raise RequestError("data_base64 of a CloudEvent is not base64") from error
    if isinstance(data, dict):
        return data
    return {} if data is None else {"value": data}


def _push(source: str, told: Mapping[str, Any], repository: Any, now: float) -> list[Event]:
    """Return the event of a push; of tags, and of a branch that was removed, none."""
    ref, before, commit = (_field(told, name, str) for name in ("ref", "before", "after"))
    if not commit.strip("0") or not ref.startswith("refs/heads/"):
        return []
    commits = [_object(c, "a commit") for c in _field(told, "commits", list)]
    paths = {str(path) for c in commits for kind in ("added", "modified", "removed") for path in c.get(kind) or ()}
    event = push_event(
        branch=ref.removeprefix("refs/heads/"),
        commit=commit,
        before=before,
        time=now,
        source=source,
        repository=str(repository or ""),
        paths=paths if told.get("total_commits_count", len(commits)) <= len(commits) else None,
    )
    return [_bounded(event)]


def _bounded(event: Event) -> Event:
    return msgspec.structs.replace(event, subject=event.subject[:_LONGEST])


def _alert(found: Any) -> Event:
    alert = _object(found, "an alert")
    status, starts = _field(alert, "status", str), _field(alert, "startsAt", str)
    labels = _field(alert, "labels", dict)
    id = _id(f"alert {_field(alert, 'fingerprint', str)} {starts} {status}")
    time = _time(alert.get("endsAt") if status == "resolved" else starts, 0.0)
    data = {"status": status, "labels": labels, "annotations": alert.get("annotations") or {}}
    return Event(id, ALERT, "alertmanager", time, str(labels.get("alertname", ""))[:_LONGEST], data)


def _stored(name: str, size: Any, mark: Any) -> Stored:
    return Stored(name, _number(size) or 0, str(mark or ""))


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not JSON: {error}") from error


def _object(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise RequestError(f"{what} is a JSON object, not {found!r:.40}")
    return found


def _field(found: Mapping[str, Any], name: str, kind: type) -> Any:
    value = found.get(name)
    if not isinstance(value, kind):
        told = "a text" if kind is str else "an array" if kind is list else "an object"
        raise RequestError(f"{name!r} must be {told}, not {value!r:.40}")
    return value


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else None


def _time(value: Any, now: float) -> float:
    if value is None:
        return now
    try:
        return parse_time(re.sub(r"(\.\d{6})\d+", r"\1", str(value)))  # Go writes nanoseconds
    except ValueError as error:
        raise RequestError(f"the time {value!r:.40} is not in the form of RFC 3339") from error


def _id(text: str) -> str:
    return text if len(text) <= _LONGEST else f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"
