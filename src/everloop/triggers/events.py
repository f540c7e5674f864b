"""The events that triggers take; an id follows from the content, so that a poll and a webhook of one thing are one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from everloop.types import Event, Json, as_json

__all__ = [
    "ALERT",
    "OBJECTS",
    "PULLED",
    "PUSH",
    "SCHEDULE",
    "SENSED",
    "Stored",
    "objects_event",
    "pulled_event",
    "push_event",
    "schedule_event",
]

PUSH, OBJECTS = "everloop.push", "everloop.objects"
SCHEDULE, ALERT, PULLED = "everloop.schedule", "everloop.alert", "everloop.pulled"
SENSED = (PUSH, OBJECTS, SCHEDULE, ALERT, PULLED)
"""What comes from outside; nobody asked for it."""


class Stored(msgspec.Struct, frozen=True):
    """One object of a listing or a notification: `name` lies below the event's `url`, `etag` tells its content."""

    name: str
    size: int
    etag: str


def push_event(
    *,
    branch: str,
    commit: str,
    before: str,
    time: float,
    source: str,
    repository: str = "",
    paths: Iterable[str] | None = None,
) -> Event:
    """Return the event of a branch that moved from `before` to `commit`; without `paths` they are looked up."""
    data: dict[str, Json] = {"commit": commit, "before": before, "repository": repository, "branch": branch}
    if paths is not None:
        data |= {"paths": sorted(paths)}
    return Event(_id("push", branch, before, commit), PUSH, source, time, f"refs/heads/{branch}", data)


def objects_event(url: str, objects: Iterable[Stored], *, time: float, source: str) -> Event:
    """Return the event of objects that are new below a URL, or have another content."""
    url, found = url.rstrip("/"), sorted(objects, key=lambda one: one.name)
    clean = [msgspec.structs.replace(one, etag=one.etag.strip('"')) for one in found]
    parts = [part for one in clean for part in (f"{url}/{one.name}", one.etag)]
    data = {"url": url, "objects": [as_json(one) for one in clean]}
    return Event(_id("objects", *parts), OBJECTS, source, time, url, data)


def pulled_event(source: str, file: str, rows: int, commit: str, *, time: float) -> Event:
    """Return the event of rows that a pull brought and that are a version now."""
    data = {"file": file, "rows": rows, "commit": commit}
    return Event(_id("pulled", source, file, commit), PULLED, "pull", time, f"{rows:,} rows from {source}", data)


def schedule_event(due: float, told: str) -> Event:
    """Return the event of a schedule whose time has come."""
    return Event(f"schedule-{int(due)}", SCHEDULE, "schedule", due, told)


def _id(kind: str, *parts: str) -> str:
    return f"{kind}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"
