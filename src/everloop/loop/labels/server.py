"""A small web page on this machine, on which a person labels the rows of a file one by one.

GET  /            the next row without a label; ?row=N that one, ?after=N the next behind it
POST /label       row, label: writes the label into the file
POST /import      makes the labels that there are a version, as `everloop label import` does

It listens on 127.0.0.1 only. Requests that name another host, and those that another site's page sends, are refused.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pandas as pd

from everloop.data import Schema, label
from everloop.data.media import value_of
from everloop.errors import EverloopError, RequestError, UsageError
from everloop.loop.client import Client
from everloop.loop.labels import files as label_files
from everloop.loop.labels.importing import import_labels
from everloop.loop.labels.page import Shown, done, page, picture
from everloop.loop.schemas import frozen_schema
from everloop.loop.workspace import Workspace
from everloop.serving.body import DisconnectedError, Message, Receive, read_body

__all__ = ["LabelApp", "serve_labels"]

HOST = "127.0.0.1"
MAX_BODY = 1 << 20
_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; form-action 'self'",
    ),
]
Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def serve_labels(workspace: Workspace, path: Path, port: int, client: Callable[[], Client]) -> None:
    """Show the rows of a file until SIGTERM or SIGINT; prints the page's URL once it is there."""
    from everloop.serving.server import bind, run  # uvicorn takes longer to import than all of the rest

    app = LabelApp(workspace, path, client)
    with bind(HOST, port) as listener:
        app.hosts = {f"{name}:{listener.getsockname()[1]}" for name in (HOST, "localhost")}
        run(app, listener, lambda url: print(f"label {path.name} at {url}", flush=True))


class LabelApp:
    """The ASGI application over one file of rows to label, which is read anew for each request."""

    def __init__(
        self, workspace: Workspace, path: Path, client: Callable[[], Client], clock: Callable[[], float] = time.time
    ) -> None:
        self._workspace, self._path, self._client, self._clock = workspace, path, client, clock
        self._target = workspace.settings.data.target
        if path.suffix.lower() not in label_files.KINDS:
            raise UsageError(f"{path.name}: labels are written into {', '.join(label_files.KINDS)} only")
        self._rows()
        self.hosts = {HOST}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
            return
        extra: list[tuple[bytes, bytes]] = []
        try:
            status, text, extra = await self._reply(scope, receive)
        except DisconnectedError:
            return
        except EverloopError as error:
            status, text = error.http_status, self._end(wrong=str(error))
        body = text.encode()
        headers = [*_HEADERS, *extra, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _reply(self, scope: Scope, receive: Receive) -> tuple[int, str, list[tuple[bytes, bytes]]]:
        header = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._check_sender(scope["method"], header)
        asked = (scope["method"], scope["path"])
        if asked == ("GET", "/"):
            return 200, self._show(_fields(scope["query_string"])), []
        if asked == ("POST", "/label"):
            body = await read_body(receive, header.get("content-length"), MAX_BODY)
            return self._take(_fields(body))
        if asked == ("POST", "/import"):
            taken = import_labels(self._workspace, self._path, now=self._clock(), client=self._client)
            return 200, self._end(told=taken.told), []
        raise RequestError(f"there is no {scope['method']} {scope['path'][:80]} here", 404)

    def _check_sender(self, method: str, header: dict[str, str]) -> None:
        """Raise `RequestError` for a name that was made to point here, and for what another site's page sends."""
        host = header.get("host", "")
        if host not in self.hosts:
            raise RequestError(f"this page is at {' or '.join(sorted(self.hosts))}, not at {host[:80]!r}", 403)
        if method == "POST" and header.get("origin", f"http://{host}") != f"http://{host}":
            raise RequestError("labels are taken from this page only", 403)

    def _show(self, asked: dict[str, str], wrong: str = "") -> str:
        rows = self._rows()
        filled = label_files.filled(rows, self._target).tolist()
        place = _place(asked, filled)
        if place is None:
            return self._end()
        schema = frozen_schema(self._workspace)
        classes = [str(one) for one in schema.classes] if schema else []
        shown = self._row(rows.iloc[place], place)
        return page(self._path.name, self._target, shown, classes, sum(filled), len(rows), wrong)

    def _row(self, row: pd.Series[Any], place: int) -> Shown:
        from html import escape

        cells, media = dict[str, str](), self._workspace.settings.data.columns
        for name, value in row.items():
            if name in media:
                packed = value_of(value, self._path.parent)
                cells[str(name)] = picture(packed) if packed else ""
            elif name not in (self._target, *label_files.NOTES):
                cells[str(name)] = escape(_told(value))
        reason, suggested = (_told(row.get(name)) for name in (label_files.REASON, label_files.SUGGESTED))
        return Shown(place, cells, reason, suggested, _told(row.get(self._target)))

    def _take(self, given: dict[str, str]) -> tuple[int, str, list[tuple[bytes, bytes]]]:
        rows = self._rows()
        place, value = _number(given.get("row", "")), given.get("label", "").strip()
        if place is None or place >= len(rows):
            raise RequestError(f"there is no row {given.get('row', '')[:20]!r}")
        taken = _label_of(value, frozen_schema(self._workspace))
        if taken is None:
            return 400, self._show({"row": str(place)}, f"{value[:80]!r} is no label of this project"), []
        if self._target not in rows.columns:
            rows[self._target] = None
        rows[self._target] = rows[self._target].astype(object)
        rows.loc[rows.index[place], self._target] = taken
        label_files.write(rows, self._path)
        return 303, "", [(b"location", b"/?after=%d" % place)]

    def _end(self, told: str = "", wrong: str = "") -> str:
        rows = self._rows()
        return done(self._path.name, int(label_files.filled(rows, self._target).sum()), len(rows), told, wrong)

    def _rows(self) -> pd.DataFrame:
        if not self._path.is_file():
            raise UsageError(f"{self._path} is no file: `everloop label next` writes one")
        return label_files.as_written(self._path)


def _place(asked: dict[str, str], filled: list[bool]) -> int | None:
    """Return the row that is asked for, else the next one without a label; None where there is none left."""
    wanted, after = _number(asked.get("row", "")), _number(asked.get("after", ""))
    if wanted is not None and wanted < len(filled):
        return wanted
    first = 0 if after is None else after + 1
    order = [*range(first, len(filled)), *range(min(first, len(filled)))]
    return next((place for place in order if not filled[place]), None)


def _label_of(value: str, schema: Schema | None) -> Any:
    """Return what is written for a label; before the first schema any text is one."""
    if not value:
        return None
    if schema is None:
        return value
    if schema.task == "classification":
        return label(value, schema)
    try:
        return label(float(value), schema)
    except ValueError:
        return None


def _fields(text: bytes) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text.decode("utf-8", "replace")).items()}


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _told(value: Any) -> str:
    return "" if value is None or value != value else str(value)
