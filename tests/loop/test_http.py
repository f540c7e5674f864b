"""The door of the loop: who may tell it what, and that each notice is stored once."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import sqlalchemy as sa
from tests.loop.observed import observed
from tests.loop.test_notices import ALERT, CLOUD, PUSHED, STRUCTURED

from everloop import store
from everloop.errors import BusyError, UsageError
from everloop.loop.http import EventsApp, run_events
from everloop.loop.workspace import Workspace

SECRETS = {"EVERLOOP_EVENTS_TOKEN": "t", "EVERLOOP_GITHUB_SECRET": "g", "EVERLOOP_GITLAB_SECRET": "l"}
BEARER = {"authorization": "Bearer t"}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = observed(tmp_path / "project", '\n[events]\nmax_body = "2kB"\n')
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def door(workspace: Workspace) -> Any:
    transport = httpx.ASGITransport(EventsApp(workspace, SECRETS, lambda: 1000.0))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        yield client


def stored(workspace: Workspace) -> list[tuple[str, str]]:
    return [(row["id"], row["type"]) for row in workspace.store.rows(sa.select(store.event))]


def signed(body: bytes, secret: str = "g") -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={signature}", "x-github-event": "push", "x-github-delivery": "d"}


@pytest.mark.asyncio
async def test_each_way_in_stores_its_event_once(door: httpx.AsyncClient, workspace: Workspace) -> None:
    github = json.dumps(PUSHED | {"repository": {"full_name": "me/rides"}}).encode()
    gitlab = json.dumps(PUSHED | {"after": "c" * 40, "project": {"path_with_namespace": "me/rides"}}).encode()
    made = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "a"}, "object": {"key": "x"}}}
    hooked = {"x-gitlab-token": "l", "x-gitlab-event": "Push Hook", "idempotency-key": "k"}
    for _ in range(2):
        for path, body, headers in (
            ("/events", json.dumps(CLOUD).encode(), BEARER | STRUCTURED),
            ("/events", json.dumps(CLOUD | {"id": "8", "type": "everloop.retrain"}).encode(), BEARER | STRUCTURED),
            ("/webhooks/github", github, signed(github)),
            ("/webhooks/gitlab", gitlab, hooked),
            ("/webhooks/alertmanager", json.dumps({"alerts": [ALERT]}).encode(), BEARER),
            ("/webhooks/s3", json.dumps({"Records": [made]}).encode(), BEARER),
        ):
            answer = await door.post(path, content=body, headers=headers)
            assert answer.status_code == 202, answer.text
    kinds = ["shop.sold", "everloop.retrain", "everloop.push", "everloop.push", "everloop.alert", "everloop.objects"]
    assert sorted(kind for _, kind in stored(workspace)) == sorted(kinds)
    assert answer.json()["events"] == [id for id, kind in stored(workspace) if kind == "everloop.objects"]


@pytest.mark.asyncio
async def test_nothing_is_stored_without_the_secret(door: httpx.AsyncClient, workspace: Workspace) -> None:
    body = json.dumps(PUSHED | {"repository": {}}).encode()
    cloud = json.dumps(CLOUD).encode()
    wrong: list[tuple[str, bytes, dict[str, str], str]] = [
        ("/events", cloud, STRUCTURED, "Authorization: Bearer"),
        ("/events", cloud, STRUCTURED | {"authorization": "Bearer u"}, "Authorization: Bearer"),
        ("/webhooks/alertmanager", b"{}", {}, "Authorization: Bearer"),
        ("/webhooks/s3", b"{}", {}, "Authorization: Bearer"),
        ("/webhooks/github", body, signed(body, "other"), "X-Hub-Signature-256"),
        ("/webhooks/github", body + b" ", signed(body), "X-Hub-Signature-256"),
        ("/webhooks/github", body, {}, "X-Hub-Signature-256"),
        ("/webhooks/gitlab", body, {"x-gitlab-token": "\xe9"}, "X-Gitlab-Token"),
    ]
    for path, content, headers, words in wrong:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = await door.post(path, content=content, headers=raw)
        assert (answer.status_code, list(answer.json())) == (401, ["error"])
        assert words in answer.json()["error"]
    assert stored(workspace) == []


@pytest.mark.asyncio
async def test_a_door_without_secrets_is_closed_and_says_how_to_open_it(workspace: Workspace) -> None:
    transport = httpx.ASGITransport(EventsApp(workspace, {"EVERLOOP_GITHUB_SECRET": ""}))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        for path, name in (
            ("/events", "EVENTS_TOKEN"),
            ("/webhooks/github", "GITHUB_SECRET"),
            ("/webhooks/gitlab", "GITLAB"),
        ):
            answer = await client.post(path, content=b"{}", headers=signed(b"{}", ""))
            assert answer.status_code == 403
            assert f"set the environment variable EVERLOOP_{name}" in answer.json()["error"]


@pytest.mark.asyncio
async def test_what_is_wrong_is_one_sentence(door: httpx.AsyncClient, workspace: Workspace) -> None:
    large = await door.post("/events", content=b"x" * 2001, headers=BEARER | STRUCTURED)
    assert (large.status_code, large.json()["error"][:38]) == (413, "the body is larger than 2000 bytes: [e")
    bad = await door.post("/events", content=b"{", headers=BEARER | STRUCTURED)
    assert (bad.status_code, bad.json()["error"][:25]) == (400, "the body is not JSON: Inp")
    batch = b"[" + json.dumps(CLOUD).encode() + b", 3]"
    kind = {"content-type": "application/cloudevents-batch+json"}
    assert (await door.post("/events", content=batch, headers=BEARER | kind)).status_code == 400
    assert stored(workspace) == []  # all of a batch, or none
    assert (await door.get("/events")).status_code == 405
    assert "did you mean '/events'" in (await door.post("/event")).json()["error"]
    page = await door.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    assert 'everloop_events_refused_total{status="400"} 2.0' in page.text
    assert 'everloop_signal_firing{column="a",signal="data_drift"} 1.0' in page.text
    assert (await door.get("/health")).json() == {"healthy": True}


def test_where_the_door_cannot_listen_the_setting_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port, folder = other.getsockname()[1], tmp_path / "project"
        observed(folder, f"\n[events]\nport = {port}\n").close()
        with pytest.raises(BusyError, match=rf"port {port} on 127\.0\.0\.1 is in use: .* another \[events\] port in"):
            run_events(folder)
    settings = folder / "everloop.toml"
    for host, told in (("192.0.2.1", "192.0.2.1 is no address of this machine: name"), ("no.such.invalid", "unknown")):
        settings.write_text(settings.read_text().replace("[events]\n", f'[events]\nhost = "{host}"\n', 1))
        with pytest.raises(UsageError, match=f"{told}.* such as 127"):
            run_events(folder)
        settings.write_text(settings.read_text().replace(f'host = "{host}"\n', ""))


@pytest.mark.slow
def test_the_door_is_a_process_of_its_own(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    observed(tmp_path / "project", f"\n[events]\nport = {port}\n").close()
    command = [sys.executable, "-m", "everloop.cli", "events", "--project", str(tmp_path / "project")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | SECRETS)
    try:
        assert process.stdout
        url = f"http://127.0.0.1:{port}"
        assert process.stdout.readline() == f"events {url}\n"
        told = httpx.post(f"{url}/events", json=CLOUD, headers=BEARER | STRUCTURED)
        assert told.json() == {"events": ["/shop 7"]}
        large = httpx.post(f"{url}/events", content=b"x" * 26_000_000, headers=BEARER | STRUCTURED)
        assert large.status_code == 413
        assert 'everloop_events_total{type="other"} 1.0' in httpx.get(f"{url}/metrics").text
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
