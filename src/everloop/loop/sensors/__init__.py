"""What the controller looks at by itself: branches, buckets, sources, the clock; each finding is stored once."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from everloop import store
from everloop.errors import EverloopError
from everloop.loop.commands import put
from everloop.loop.sensors.git import GitSensor
from everloop.loop.sensors.schedule import ScheduleSensor
from everloop.loop.sensors.sensor import Cursor, Noticed, Sensor
from everloop.loop.sensors.source import ApartSensor, SourceSensor
from everloop.loop.sensors.storage import StorageSensor
from everloop.loop.workspace import Workspace
from everloop.settings import Objects, Pushes, Schedule, located, seconds
from everloop.store import Connection
from everloop.triggers import place_of

__all__ = ["Noticed", "Sensor", "Sensors", "cursor_of", "sensors_of"]

_log = logging.getLogger("everloop.loop")


def sensors_of(workspace: Workspace, apart: bool = False) -> list[Sensor]:
    """Return the sensors that the project's triggers need; `apart`: sources are pulled in processes of their own."""
    triggers, found = workspace.settings.triggers, list[Sensor]()
    pushes = [t for name in ("code", "repository_data") if isinstance(t := triggers.of(name), Pushes)]
    for remote, branch in dict.fromkeys((t.remote, t.branch) for t in pushes):
        every = min(seconds(t.poll) for t in pushes if (t.remote, t.branch) == (remote, branch))
        found.append(GitSensor(workspace.folder, remote, branch, every))
    if isinstance(watched := triggers.of("storage"), Objects):
        place = place_of(workspace.settings)
        there = place if "://" in place else str(workspace.path(place))
        found.append(StorageSensor(place, there, seconds(watched.poll), seconds(watched.debounce)))
    for name, source in workspace.settings.data.sources.items():
        if source.every:
            found.append((ApartSensor if apart else SourceSensor)(workspace, name, seconds(source.every)))
    if isinstance(planned := triggers.of("schedule"), Schedule):
        with located(workspace.folder):
            found.append(ScheduleSensor(planned.cron, planned.every))
    return found


class Sensors:
    """Looks at each place when it is due; cursor and events are stored in one transaction.

    A place that does not answer, or where nothing is yet, is told once for each reason, and looked at again.
    """

    def __init__(self, workspace: Workspace, apart: bool = False) -> None:
        self._store, self._sensors = workspace.store, sensors_of(workspace, apart)
        self._looked: dict[str, float] = {}
        self._told: dict[str, str] = {}

    def look(self, now: float) -> None:
        """Look at all that is due by now."""
        for sensor in self._sensors:
            last = self._looked.get(sensor.name)
            if last is not None and last <= now < last + sensor.every:
                continue
            self._looked[sensor.name] = now
            try:
                told = self._take(sensor, now)
            except EverloopError as error:
                told = str(error)
            if told and self._told.get(sensor.name) != told:
                _log.warning("trigger   %s: %s", sensor.name, told)
            self._told[sensor.name] = told

    def close(self) -> None:
        """Break off what is under way."""
        for sensor in self._sensors:
            if isinstance(sensor, ApartSensor):
                sensor.close()

    def _take(self, sensor: Sensor, now: float) -> str:
        with self._store.read() as connection:
            cursor = cursor_of(connection, sensor)
        noticed = sensor.look(dict(cursor or {}), now)
        if noticed.events or noticed.cursor != cursor:
            with self._store.begin() as connection:
                for event in noticed.events:
                    put(connection, event)
                _keep(connection, _name(sensor), noticed.cursor)
        return noticed.told


def cursor_of(connection: Connection, sensor: Sensor) -> Cursor | None:
    """Return where the next look of a sensor goes on; None before its first."""
    found: Cursor | None = connection.execute(
        sa.select(store.state.c.value).where(store.state.c.name == _name(sensor))
    ).scalar()
    return found


def _name(sensor: Sensor) -> str:
    return f"sensor:{sensor.name}"[:255]


def _keep(connection: Connection, name: str, cursor: Cursor) -> None:
    where = store.state.c.name == name
    if connection.execute(store.state.update().where(where).values(value=cursor)).rowcount == 0:
        connection.execute(store.state.insert().values(name=name, value=cursor))
