"""What events and signals mean to each trigger: an occurrence that calls for a run, or the end of an event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

import msgspec

from everloop.settings import Alerts, Pushes, Settings
from everloop.triggers.book import Book
from everloop.triggers.classify import classify
from everloop.triggers.conditions import Occurrence
from everloop.triggers.events import ALERT, OBJECTS, PULLED, PUSH, SCHEDULE
from everloop.types import Event

__all__ = ["Final", "Looked", "Sorted", "place_of", "sort_events"]

OWN = "Everloop"
"""How the names of the alerts begin that Everloop's own rules give."""


class Looked(msgspec.Struct, frozen=True):
    """What git says of a push: the files that changed since the last one that was answered, and whose work it is.

    `contained`: what was answered holds it already. `own`: the loop made these commits itself. `missing`: why the
    commit cannot be seen yet, or, once `given_up`, at all.
    """

    paths: tuple[str, ...] = ()
    contained: bool = False
    own: bool = False
    missing: str = ""
    given_up: bool = False


class Final(msgspec.Struct, frozen=True):
    """Events that start nothing, ever: why, and which trigger says so."""

    events: tuple[str, ...]
    trigger: str
    reason: str


class Sorted(msgspec.Struct):
    """What each trigger saw, and what needs no answer any more; `passed` are commits of branches that are done with."""

    occurrences: dict[str, Occurrence] = {}
    finals: list[Final] = []
    passed: dict[str, str] = {}


def sort_events(
    events: Sequence[Event], looked: Mapping[str, Looked], settings: Settings, book: Book, prefix: str = ""
) -> Sorted:
    """Sort events that wait, oldest first; `looked` says what git knows of each push.

    With `busy = "queue"` each trigger is given its oldest event only, else all of them as one.
    """
    found = Sorted()
    kinds: dict[str, list[Event]] = {}
    for event in events:
        kinds.setdefault(event.type, []).append(event)
    _sort_pushes(kinds.get(PUSH, []), looked, settings, prefix, found)
    _sort_objects(kinds.get(OBJECTS, []), settings, book, found)
    alerts, planned, pulled = (
        _firing(kinds.get(ALERT, []), settings, found),
        kinds.get(SCHEDULE, []),
        kinds.get(PULLED, []),
    )
    for waiting, trigger in ((planned, "schedule"), (alerts, "alert"), (pulled, "sources")):
        if waiting and settings.triggers.of(trigger) is None:
            found.finals.append(Final(_ids(waiting), trigger, f"{trigger} is turned off in [triggers]"))
        elif chosen := _chosen(waiting, settings):
            told = chosen[-1].subject or str(chosen[-1].data.get("name", ""))
            _put(found, trigger, f"{trigger} {told}".strip(), chosen, {})
    return found


def place_of(settings: Settings) -> str:
    """Return the place that the storage trigger watches: its `url`, else where `[data] source` lies."""
    told = settings.triggers.of("storage")
    if url := getattr(told, "url", ""):
        return str(url).rstrip("/")
    scheme, _, rest = settings.data.source.rpartition("://")
    folder = PurePosixPath(rest).parent
    while any(c in str(folder) for c in "*?["):
        folder = folder.parent
    return f"{scheme}://{folder}" if scheme else str(folder)


def _sort_pushes(
    pushes: Sequence[Event], looked: Mapping[str, Looked], settings: Settings, prefix: str, found: Sorted
) -> None:
    triggers = settings.triggers
    watched = {n: t for n in ("code", "repository_data") if isinstance(t := triggers.of(n), Pushes)}
    waiting: dict[str, list[Event]] = {}
    for event in pushes:
        branch, seen = str(event.data.get("branch", "")), looked.get(event.id, Looked())
        name, said = _short(event), ""
        if not watched:
            said = "code and repository_data are turned off in [triggers]"
        elif branch not in {t.branch for t in watched.values()}:
            said = f"branch {branch!r} is not watched"
        elif seen.given_up:
            said = f"push {name} cannot be seen: {seen.missing}"
        elif seen.missing:
            found.occurrences["push"] = Occurrence(f"push {name} waits: {seen.missing}", event.time, (event.id,))
        elif seen.own:
            said = f"push {name} holds only what the loop committed itself"
        elif seen.contained:
            said = f"push {name} was answered already"
        else:
            waiting.setdefault(branch, []).append(event)
        if said:
            found.finals.append(Final((event.id,), "push", said))
        if seen.own:
            found.passed[branch] = str(event.data["commit"])
    for branch, events in waiting.items():
        on = {name for name, trigger in watched.items() if trigger.branch == branch}
        _sort_branch(branch, _chosen(events, settings), on, looked, settings, prefix, found)


def _sort_branch(
    branch: str,
    pushes: Sequence[Event],
    on: set[str],
    looked: Mapping[str, Looked],
    settings: Settings,
    prefix: str,
    found: Sorted,
) -> None:
    """Take the pushes of one branch as one: the newest commit, the files of all."""
    paths = {path for event in pushes for path in looked[event.id].paths}
    changes = classify(paths, settings.data.source, settings.triggers.ignore, prefix)
    commit, evidence = str(pushes[-1].data["commit"]), dict[str, Any]()
    if changes.data and "repository_data" in on:
        evidence["data"] = {"commit": commit, "paths": list(changes.data)}
    if changes.code and "code" in on:
        test = bool(getattr(settings.triggers.of("code"), "test", True))
        evidence["code"] = {"commit": commit, "test": test}
    evidence["push"] = {"branch": branch, "commit": commit}
    told = {"code": changes.code, "repository_data": changes.data}
    trigger = "code" if "code" in evidence else "repository_data" if "data" in evidence else ""
    if trigger:
        _put(found, trigger, f"push {commit[:10]} changes {_listed(told[trigger])}", pushes, evidence)
        return
    what = {"code": "no code", "repository_data": "no data"}.get("".join(on), "neither code nor data")
    changed = _listed(sorted(paths)) or "nothing"
    found.finals.append(Final(_ids(pushes), "push", f"push {commit[:10]} changes {what}: {changed}"))
    found.passed[branch] = commit


def _firing(alerts: Sequence[Event], settings: Settings, found: Sorted) -> list[Event]:
    """Return the alerts that fire and are asked for; Everloop's own only where a pattern names them."""
    section, taken = settings.triggers.of("alert"), list[Event]()
    patterns = section.names if isinstance(section, Alerts) else ("*",)
    for event in alerts:
        name, status = event.subject, event.data.get("status", "firing")
        own = [pattern for pattern in patterns if not name.startswith(OWN) or pattern.startswith(OWN)]
        said = ""
        if section is not None and status != "firing":
            said = f"alert {name} is {status}"
        elif section is not None and not any(fnmatch(name, pattern) for pattern in own):
            said = f"alert {name} is not among [triggers.alert] names"
        if said:
            found.finals.append(Final((event.id,), "alert", said))
        else:
            taken.append(event)
    return taken


def _sort_objects(waiting: Sequence[Event], settings: Settings, book: Book, found: Sorted) -> None:
    if not waiting:
        return
    if settings.triggers.of("storage") is None:
        found.finals.append(Final(_ids(waiting), "storage", "storage is turned off in [triggers]"))
        return
    pattern, place = PurePosixPath(settings.data.source).name, place_of(settings)
    relevant, objects = list[Event](), dict[str, dict[str, Any]]()
    for event in waiting:
        fresh, said = dict[str, dict[str, Any]](), "names no object"
        for full, one in _named(event):
            etag = str(one.get("etag", "")).strip('"')
            if not full.startswith(f"{place}/") or ".." in PurePosixPath(full.removeprefix(place)).parts:
                said = f"{full} lies outside of {place}"
            elif not fnmatch(PurePosixPath(full).name, pattern):
                said = f"{full} is not what [data] source takes ({pattern!r})"
            elif etag and book.objects.get(full) == etag:
                said = f"{full} was taken already, with this content"
            else:
                fresh[full] = {"url": full, "etag": etag, "size": one.get("size")}
        if not fresh:
            found.finals.append(Final((event.id,), "storage", said))
        elif not relevant or settings.triggers.busy == "newest":
            relevant.append(event)
            objects |= fresh
    if relevant:
        listed = _listed([PurePosixPath(url).name for url in sorted(objects)])
        evidence = {"objects": [objects[url] for url in sorted(objects)]}
        _put(found, "storage", f"{place} has new {listed}", relevant, evidence)


def _named(event: Event) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the objects that an event names; of one that was not read by the door, what can be read."""
    url, told = str(event.data.get("url", "")).rstrip("/"), event.data.get("objects")
    for one in told if isinstance(told, list) else ():
        if isinstance(one, dict) and isinstance(name := one.get("name"), str):
            yield f"{url}/{name}", one


def _chosen(waiting: Sequence[Event], settings: Settings) -> Sequence[Event]:
    return waiting if settings.triggers.busy == "newest" else waiting[:1]


def _put(found: Sorted, trigger: str, reason: str, events: Sequence[Event], evidence: dict[str, Any]) -> None:
    newest = max(event.time for event in events)
    found.occurrences[trigger] = Occurrence(reason, newest, _ids(events), evidence)


def _ids(events: Sequence[Event]) -> tuple[str, ...]:
    return tuple(event.id for event in events)


def _short(event: Event) -> str:
    return str(event.data.get("commit", ""))[:10]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
