"""A whole project under a real Prometheus and Alertmanager: scraped, an alert fires and comes back as an event.

Everything of it runs as a person would: `everloop up`, `everloop observe init`, and Debian's two servers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import sqlalchemy as sa
from tests.projects import write_project

from everloop import store
from everloop.loop.records import record_signals
from everloop.loop.workspace import opened
from everloop.types import Signal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("prometheus-alertmanager")),
        reason="needs the Debian packages prometheus and prometheus-alertmanager",
    ),
]
T = TypeVar("T")
TOKEN = "a-token"


def test_what_happens_is_seen_and_an_alert_comes_back(tmp_path: Path) -> None:
    server, door, prometheus, alertmanager = free_ports(4)
    folder = project(tmp_path / "project", server, door)
    environment = os.environ | {"EVERLOOP_EVENTS_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    with process(
        [sys.executable, "-m", "everloop.cli", "up", "--project", str(folder)], environment, tmp_path / "up.log"
    ):
        until(lambda: ask(server) == 200, "the server answers")
        everloop("run", "--reason", "a rollout to be seen", "--project", str(folder))
        place = observability(folder, prometheus, alertmanager)
        with prometheus_of(place, prometheus, alertmanager, tmp_path) as query:
            traffic = threading.Event()
            sender = threading.Thread(target=send, args=(server, traffic))
            sender.start()
            try:
                record_others(folder)
                until(lambda: not [t for t in query("targets")["activeTargets"] if t["health"] != "up"], "scrapes work")
                missing = until(lambda: without_data(place, query), "each panel has data", want=lambda found: not found)
                assert missing == []
                until(lambda: exemplars(query), "exemplars name predictions")
            finally:
                traffic.set()
                sender.join()
            rules = [rule for group in query("rules")["groups"] for rule in group["rules"]]
            assert {(rule["name"], rule["health"]) for rule in rules if rule["health"] != "ok"} == set()
            until(lambda: alerts_of(folder, "EverloopDataDrift"), "the alert is an event")
    told = alerts_of(folder, "EverloopDataDrift")[0]
    assert told["data"]["status"] == "firing"
    assert told["data"]["labels"]["severity"] == "warning"
    assert len({row["id"] for row in alerts_of(folder)}) == len(alerts_of(folder))


def project(folder: Path, server: int, door: int) -> Path:
    """Write a project of two workers whose controller looks each second."""
    write_project(folder)
    path = folder / "everloop.toml"
    text = (
        path.read_text()
        .replace('interval = "1d"', 'interval = "1s"\nwindow = "12"')
        .replace("tensorboard = false", "tensorboard = true")
    )
    more = f'[serving]\nport = {server}\nworkers = 2\n[events]\nport = {door}\n[storage]\nseal = "1s"\n'
    path.write_text(f"{text}\n{more}")
    return folder


def observability(folder: Path, prometheus: int, alertmanager: int) -> Path:
    """Write the files by the command, as somebody edits them: own ports, a shorter interval, the token beside them."""
    told = json.loads(everloop("observe", "init", "--json", "--project", str(folder)))
    place = Path(told["folder"])
    for name in told["files"]:
        path = place / name
        text = path.read_text().replace(":9093", f":{alertmanager}").replace(":9090", f":{prometheus}")
        path.write_text(text.replace("15s", "1s"))
    (place / "alertmanager" / "events-token").write_text(TOKEN)
    return place


@contextlib.contextmanager
def prometheus_of(place: Path, port: int, alertmanager: int, data: Path) -> Iterator[Callable[..., Any]]:
    """Run Prometheus and Alertmanager on the files; gives what asks Prometheus's API."""
    first = [
        "prometheus", f"--config.file={place / 'prometheus' / 'prometheus.yml'}",
        f"--storage.tsdb.path={data / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=warn",
    ]  # fmt: skip
    second = [
        "prometheus-alertmanager", f"--config.file={place / 'alertmanager' / 'alertmanager.yml'}",
        f"--storage.path={data / 'alerts'}", f"--web.listen-address=127.0.0.1:{alertmanager}",
        "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip

    def query(what: str, **parameters: Any) -> Any:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/{what}", params=parameters, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    with process(first, dict(os.environ), data / "prometheus.log"):
        with process(second, dict(os.environ), data / "alertmanager.log"):
            for each in (port, alertmanager):
                until(lambda each=each: ready(f"http://127.0.0.1:{each}/-/ready"), "it is ready")  # type: ignore[misc]
            yield query


def without_data(place: Path, query: Callable[..., Any]) -> list[str]:
    """Return the queries of all panels that give nothing, or nothing but NaN."""
    boards = [json.loads(path.read_text()) for path in sorted((place / "grafana" / "dashboards").glob("*.json"))]
    asked = [target["expr"] for board in boards for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(asked) > 25
    results = {expression: query("query", query=expression)["result"] for expression in asked}
    return [e for e, found in results.items() if all(sample["value"][1] == "NaN" for sample in found)]


def exemplars(query: Callable[..., Any]) -> list[dict[str, Any]]:
    now = time.time()
    shown = query("query_exemplars", query="everloop_prediction_seconds_bucket", start=now - 300, end=now + 1)
    return [e for series in shown for e in series["exemplars"] if e["labels"]["prediction_id"]]


def send(server: int, stop: threading.Event) -> None:
    """Send rows unlike those of training, their labels, and a wrong request now and then.

    Each round has a connection of its own: one that stays belongs to one worker, and Prometheus' to perhaps another.
    """
    url = f"http://127.0.0.1:{server}/v2/models/toy"
    while not stop.wait(0.05):
        with httpx.Client(timeout=20) as client:
            columns = [{"name": n, "shape": [20], "datatype": "FP64", "data": [50.0] * 20} for n in ("a", "b", "hour")]
            told = client.post(f"{url}/infer", json={"inputs": columns}).json()
            id = told["parameters"]["prediction_id"]
            labels = [{"prediction_id": id, "row": row, "value": 900.0} for row in range(20)]
            client.post(f"{url}/feedback", json={"labels": labels})
            client.post(f"{url}/infer", json={})


def record_others(folder: Path) -> None:
    """Store the signals of losses that are waited days for; drift of what is sent the monitor finds itself."""
    now, common = time.time(), {"coverage": 0.75}
    with opened(folder) as workspace, workspace.store.begin() as connection:
        signals = [Signal(name, now, 4.5, 3.0, False, now, now, common) for name in ("estimated_loss", "realised_loss")]
        record_signals(connection, signals)


def alerts_of(folder: Path, name: str | None = None) -> list[dict[str, Any]]:
    with opened(folder) as workspace:
        rows = workspace.store.rows(sa.select(store.event).where(store.event.c.type == "everloop.alert"))
    return [row for row in rows if name in (None, row["subject"])]


def ask(server: int) -> int:
    columns = [{"name": n, "shape": [1], "datatype": "FP64", "data": [0.5]} for n in ("a", "b", "hour")]
    with contextlib.suppress(httpx.TransportError):
        return httpx.post(f"http://127.0.0.1:{server}/v2/models/toy/infer", json={"inputs": columns}).status_code
    return 0


def ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False


def until(look: Callable[[], T], what: str, want: Callable[[T], Any] = bool, patience: float = 120.0) -> T:
    """Look again and again until there is what is wanted."""
    deadline = time.monotonic() + patience
    while not want(found := look()):
        assert time.monotonic() < deadline, f"not so: {what}: {found}"
        threading.Event().wait(0.2)
    return found


def everloop(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "everloop.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as file:
        started = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        try:
            yield
            assert started.poll() is None, log.read_text()
        finally:
            started.terminate()
            try:
                started.wait(60)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
