"""Runs in the environment of Microsoft's toolbox: `python -I inside_responsible_ai_dashboard.py FOLDER SOCKET`.

Shows the toolbox's dashboard over saved insights, on a listening socket that the parent hands down, until SIGTERM or
SIGINT. Says one JSON object on stdout when it answers.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

import flask
import raiwidgets.dashboard
from gevent import signal_handler
from gevent import socket as sockets
from gevent.pywsgi import WSGIServer
from raiutils.data_processing import serialize_json_safe
from raiwidgets import ResponsibleAIDashboard
from responsibleai import RAIInsights


class Service:
    """Stands where the toolbox would start a server of its own, which any other site's page may ask."""

    def __init__(self, **_: Any) -> None:
        self.app = flask.Flask("responsible-ai")
        self.env = types.SimpleNamespace(base_url="/.")  # the page's own origin, whatever it is called
        self.with_credentials = False


class Dashboard(ResponsibleAIDashboard):  # type: ignore[misc]
    """The toolbox's page, made once, with data that cannot end its script: the toolbox puts texts in as they are."""

    @functools.cached_property
    def page(self) -> Any:
        return super().load_index()

    def load_index(self) -> Any:
        return self.page

    def load_widget_file(self, path: str) -> str:
        content = Path(self.get_widget_path(path)).read_text(encoding="utf-8")
        for name, value in (("config", self.config), ("model_data", self.model_data)):
            if f'"__rai_{name}__"' in content:
                text = json.dumps(value, default=serialize_json_safe)  # which doubles backslashes already
                text = text.replace("`", "\\`").replace("${", "\\${").replace("<", "\\\\u003c")
                content = content.replace(f'"__rai_{name}__"', f"`{text}`")
        return content.replace("__rai_app_id__", f"rai_widget_{self.id}")


def door(app: Any, port: int) -> Any:
    """Return the application behind a check: other names that point here and other sites' pages are refused."""
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    def checked(environ: dict[str, Any], start: Any) -> Any:
        host = environ.get("HTTP_HOST", "")
        if host not in hosts or environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
            start("403 Forbidden", [("content-type", "text/plain")])
            return [b"the dashboard answers its own page only"]
        return app(environ, start)

    return checked


def main(folder: str, listener: str) -> None:
    """Serve until a signal; what libraries print goes to stderr."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    raiwidgets.dashboard.FlaskHelper = Service
    dashboard = Dashboard(RAIInsights.load(folder))
    server = WSGIServer(sockets.socket(fileno=int(listener)), None, log=None)
    server.application = door(dashboard._service.app, server.server_port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal_handler(number, server.stop)
    print(json.dumps({"ready": True}), file=told, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
