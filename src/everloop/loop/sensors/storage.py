"""A bucket or a folder: objects that are new or have other content, once nothing changes there any more."""

from __future__ import annotations

from typing import Any

from everloop.data.sources.objects import listing, there
from everloop.loop.sensors.sensor import Noticed
from everloop.triggers import Stored, objects_event

__all__ = ["StorageSensor"]

PATIENCE = 10  # times the debounce: objects that are ready for so long do not wait for others any more


class StorageSensor:
    """Lists one place; its cursor is what tells the content of each object known, and of each that changes."""

    def __init__(self, url: str, place: str, every: float, debounce: float) -> None:
        """`url` is what events call the place, `place` where it is."""
        self._url, self._place, self._debounce = url, place, debounce
        self.name, self.every = f"storage:{url}", every

    def lacks(self, cursor: dict[str, Any]) -> str:
        """Return what a person should be told where nothing is at the place, else an empty text."""
        emptied = bool(cursor.get("known")) and "://" in self._place  # an empty folder of a bucket is none
        if emptied or there(self._place):
            return ""
        where = self._url if "://" in self._url else self._place
        return (
            f"nothing is at {where} yet: what comes there is taken; if it lies elsewhere, mend [triggers.storage] url"
        )

    def look(self, cursor: dict[str, Any], now: float) -> Noticed:
        """Return one event with all objects that came and are complete; what was deleted is no event."""
        found = {one.name: one for one in listing(self._place)}
        told = "" if found else self.lacks(cursor)
        if not cursor:
            return Noticed({"known": {name: one.etag for name, one in found.items()}, "changing": {}}, told=told)
        known, before = cursor["known"], cursor["changing"]
        changing: dict[str, list[Any]] = {}
        for name, one in found.items():
            if known.get(name) != one.etag:
                same = name in before and before[name][0] == one.etag
                changing[name] = before[name] if same else [one.etag, now]
        ready = {name for name, (_, since) in changing.items() if now - since >= self._debounce}
        waited = max((now - changing[name][1] for name in ready), default=0.0)
        if not ready or (len(ready) < len(changing) and waited < PATIENCE * self._debounce):
            return Noticed({"known": known, "changing": changing}, told=told)
        event = objects_event(
            self._url,
            (Stored(*found[name]) for name in ready),
            time=max(changing[name][1] for name in ready),
            source="poll",
        )
        taken = {name: found[name].etag for name in ready}
        return Noticed(
            {"known": known | taken, "changing": {name: v for name, v in changing.items() if name not in ready}},
            [event],
        )
