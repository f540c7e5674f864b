"""What others tell, as events: CloudEvents, pushes of GitHub and GitLab, alerts, objects in a bucket.

Each reads a body that was authenticated and returns the events in it, with ids by which a repeated notice is known.
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
from everloop.triggers import ALERT, OBJECTS, PUSH
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
    delivery = header("x-github-delivery")
    if not delivery:
        raise RequestError("the header X-GitHub-Delivery is missing: it is the event's id")
    told = _object(_json(body), "a push")
    return _push(f"github {delivery}", "github", told, _field(told, "repository", dict).get("full_name"), now)


def gitlab(body: bytes, header: Header, now: float) -> list[Event]:
    """Return the push that a webhook of GitLab tells; its other events are taken and not stored."""
    if header("x-gitlab-event") != "Push Hook":
        return []
    id = header("idempotency-key") or header("x-gitlab-event-uuid") or hashlib.sha256(body).hexdigest()
    told = _object(_json(body), "a push")
    return _push(f"gitlab {id}", "gitlab", told, _field(told, "project", dict).get("path_with_namespace"), now)


def alertmanager(body: bytes, header: Header, now: float) -> list[Event]:  # noqa: ARG001 - the same call for all
    """Return one event for each alert of a notification."""
    return [_alert(alert) for alert in _field(_object(_json(body), "a notification"), "alerts", list)]


def s3(body: bytes, header: Header, now: float) -> list[Event]:  # noqa: ARG001 - the same call for all
    """Return one event for each bucket in which objects were made, by the notification of S3 or MinIO."""
    buckets: dict[str, list[dict[str, Any]]] = {}
    marks: dict[str, list[str]] = {}
    for record in _field(_object(_json(body), "a notification"), "Records", list):
        if "ObjectCreated" not in str(_object(record, "a record").get("eventName", "")):
            continue
        place = _field(record, "s3", dict)
        bucket, made = _field(_field(place, "bucket", dict), "name", str), _field(place, "object", dict)
        entry = {"name": unquote_plus(_field(made, "key", str)), "size": made.get("size"), "etag": made.get("eTag")}
        buckets.setdefault(bucket, []).append(entry)
        seen = [entry["name"], entry["etag"], made.get("versionId"), made.get("sequencer"), record.get("eventTime")]
        marks.setdefault(bucket, []).append(repr(seen))
    return [
        _objects(f"s3 {hashlib.sha256(repr((name, sorted(marks[name]))).encode()).hexdigest()}", "s3", name, made, now)
        for name, made in buckets.items()
    ]


def _cloud_event(found: Any, now: float) -> Event:
    event = _object(found, "a CloudEvent")
    if event.get("specversion") != "1.0":
        raise RequestError(f"specversion {event.get('specversion')!r}: CloudEvents 1.0 are taken")
    id, source, type = (_field(event, name, str) for name in ("id", "source", "type"))
    if not (id and source and type):
        raise RequestError("a CloudEvent needs an id, a source and a type that are not empty")
    known, data = _id(f"{source} {id}"), _data(event)
    if type == GOOGLE_OBJECT:
        made = {"name": _field(data, "name", str), "size": _number(data.get("size")), "etag": data.get("etag")}
        return _objects(known, "gs", _field(data, "bucket", str), [made], _time(event.get("time"), now))
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


def _push(id: str, source: str, told: Mapping[str, Any], repository: Any, now: float) -> list[Event]:
    ref, before, commit = (_field(told, name, str) for name in ("ref", "before", "after"))
    if not commit.strip("0"):  # a branch was removed
        return []
    commits = [_object(c, "a commit") for c in _field(told, "commits", list)]
    paths = {str(path) for c in commits for kind in ("added", "modified", "removed") for path in c.get(kind) or ()}
    data = {
        "commit": commit,
        "before": before,
        "repository": str(repository or ""),
        "paths": sorted(paths),
        "branch": ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else "",
        "complete": told.get("total_commits_count", len(commits)) <= len(commits),
    }
    return [Event(_id(id), PUSH, source, now, ref[:_LONGEST], data)]


def _alert(found: Any) -> Event:
    alert = _object(found, "an alert")
    status, starts = _field(alert, "status", str), _field(alert, "startsAt", str)
    labels = _field(alert, "labels", dict)
    id = _id(f"alert {_field(alert, 'fingerprint', str)} {starts} {status}")
    time = _time(alert.get("endsAt") if status == "resolved" else starts, 0.0)
    data = {"status": status, "labels": labels, "annotations": alert.get("annotations") or {}}
    return Event(id, ALERT, "alertmanager", time, str(labels.get("alertname", ""))[:_LONGEST], data)


def _objects(id: str, scheme: str, bucket: str, objects: list[dict[str, Any]], time: float) -> Event:
    subject = f"{scheme}://{bucket}"
    return Event(id, OBJECTS, scheme, time, subject, {"url": f"{subject}/", "objects": objects})


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
