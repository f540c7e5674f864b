"""What the triggers are set to and did last, and what an event would start, without storing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from everloop import store
from everloop.errors import EverloopError, RequestError, UsageError
from everloop.loop.controller import ControllerState
from everloop.loop.notices import alertmanager, cloud_events, github, gitlab, s3
from everloop.loop.records import load_state
from everloop.loop.sensors import Sensor, cursor_of, sensors_of
from everloop.loop.sensors.storage import StorageSensor
from everloop.loop.triggering import Triggering
from everloop.loop.workspace import Workspace
from everloop.settings import located, seconds
from everloop.store import Connection
from everloop.triggers import SENSED, Book, TriggerState, lengthened, names_in, rules_of
from everloop.types import Event, as_json, show_time

__all__ = ["event_of", "listing", "trial"]

_HEADERS = {"content-type": "application/cloudevents+json", "x-github-event": "push", "x-gitlab-event": "Push Hook"}
_BODIES = {"Records": s3, "alerts": alertmanager, "object_kind": gitlab, "ref": github}
DRIFT = {"realised_loss", "challenger_gain", "window_growth"}


def listing(workspace: Workspace, now: float) -> list[dict[str, Any]]:
    """Return each trigger: whether it is on, its last decision, how long it still rests, and what keeps it from
    seeing anything."""
    triggers, newest = workspace.settings.triggers, _newest(workspace)
    with located(workspace.folder):  # what the controller would refuse is refused here
        rules_of(triggers)
    sensors = sensors_of(workspace)
    with workspace.store.read() as connection:
        book: Book = load_state(connection, "triggers", Book)
        state: ControllerState = load_state(connection, "controller", ControllerState)
        lacks = _lacks(connection, sensors)
    rows = []
    for name in triggers.__struct_fields__:
        if name in ("when", "busy", "budget", "period", "ignore"):
            continue
        section, last = triggers.of(name), newest.get(name)
        rests, wait = book.last.get(name), seconds(getattr(section, "cooldown", "0s"))
        if name == "concept_drift" and section is not None:
            rests, wait = max(state.retrainings, default=None), lengthened(wait, state.fruitless)
        left = rests + wait - now if rests is not None and section else 0.0
        rows.append(
            {
                "trigger": name,
                "on": section is not None,
                "acts": "" if section is None else triggers.when if name in names_in(triggers.when) else "by itself",
                "last": f"{last['id']} {last['response']}: {last['reason']}" if last else "",
                "decided": show_time(last["time"]) if last else "",
                "cooldown_left": str(timedelta(seconds=round(left))) if left > 0 else "",
                "note": lacks if name == "storage" else "",
            }
        )
    return rows


def _lacks(connection: Connection, sensors: Sequence[Sensor]) -> str:
    """Return what should be told of the place that the storage trigger watches, if it watches one."""
    watching = next((sensor for sensor in sensors if isinstance(sensor, StorageSensor)), None)
    try:
        return watching.lacks(cursor_of(connection, watching) or {}) if watching else ""
    except EverloopError as error:
        return str(error)


def event_of(text: bytes, now: float) -> Event:
    """Return the event that a JSON text holds: a CloudEvent, or a webhook's body as GitHub, GitLab, S3 or Alertmanager
    send it.

    A CloudEvent needs no `specversion`, `source` and `id` here. Raises UsageError for what is none.
    """
    try:
        return _only(_read(text, now))
    except (msgspec.MsgspecError, UnicodeDecodeError, RequestError) as error:
        raise UsageError(
            f"the file holds no event: {error}; write type, source, subject, time and data as CloudEvents do, "
            "or the body that a webhook sends"
        ) from None


def _read(text: bytes, now: float) -> list[Event]:
    told = msgspec.json.decode(text, type=dict[str, Any])
    if read := next((read for mark, read in _BODIES.items() if mark in told), None):
        return read(text, _HEADERS.get, now)
    event = {"specversion": "1.0", "source": "test", "id": "test"} | told
    return cloud_events(msgspec.json.encode(event), _HEADERS.get, now)


def _only(events: list[Event]) -> Event:
    if not events:
        raise UsageError(
            "the file holds nothing that a trigger takes: those are alerts that fire, branches that moved, new objects"
        )
    if len(events) > 1:
        raise UsageError(f"the file holds {len(events)} events that a trigger takes: one is tried at a time")
    if events[0].type not in SENSED:
        raise UsageError(f"no trigger takes {events[0].type!r}: there are {', '.join(SENSED)}")
    return events[0]


def trial(workspace: Workspace, event: Event, now: float) -> dict[str, Any]:
    """Return what would be decided on an event now, and why; nothing is stored, fetched or run."""
    with workspace.store.read() as connection:
        state: ControllerState = load_state(connection, "controller", ControllerState)
        where = store.event.c.id == event.id
        known = connection.execute(sa.select(store.event.c.result).where(where)).first()
    if known is not None:
        return {"would": "nothing", "reason": f"{event.id} is there already", "answered": known.result or "it waits"}
    asked = TriggerState(now, {}, tuple(state.retrainings), rollout=state.rollout_id)
    answer = Triggering(workspace).weigh(asked, 0, None, [event])
    if answer.sorted.finals:
        final = answer.sorted.finals[0]
        return {"would": "hold", "reason": final.reason, "triggers": [final.trigger], "ends": True}
    if not answer.rulings:
        waits = answer.occurred.get("push")
        return {"would": "hold", "reason": waits.reason if waits else "no trigger takes it", "ends": False}
    ruling = next((r for r in answer.rulings if r.verdict.passed), answer.rulings[0])
    seen = [answer.occurred[name] for name in ruling.rule.parts if name in answer.occurred]
    evidence: Mapping[str, Any] = {key: value for one in seen for key, value in one.evidence.items()}
    return {
        "would": "retrain" if ruling.verdict.passed else "hold",
        "reason": ruling.verdict.reason,
        "triggers": list(ruling.triggers or ruling.rule.parts),
        "ends": ruling.verdict.passed,
        "does": dict(evidence),
        "condition": as_json(ruling.verdict),
    }


def _newest(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return the newest decision of each trigger."""
    found: dict[str, dict[str, Any]] = {}
    query = sa.select(store.decision).order_by(store.decision.c.number.desc()).limit(1000)
    for row in workspace.store.rows(query):
        names = row["evidence"].get("triggers")
        if names is None and DRIFT & {str(s.get("name")) for s in row["evidence"].get("signals", ())}:
            names = ["concept_drift"]
        for name in names or ():
            for one in ("code", "repository_data") if name == "push" else (name,):
                found.setdefault(one, row)
    return found
