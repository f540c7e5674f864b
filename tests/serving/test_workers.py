"""Several workers behind one port: one journal, one view of metrics, and one that is killed takes nothing along."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx
import psutil
import pytest
from tests.serving.sites import Server, Site, Start, named, read_journal

from everloop.errors import SystemError_
from everloop.serving.workers import run_workers


def workers(server: Server) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(server.pid).children()
    return found


async def load(server: Server, count: int, kill_at: frozenset[int], site: Site) -> tuple[set[str], int]:
    """Send requests over 16 connections while workers are killed and plans change; returns the acknowledged ids."""
    acknowledged, cut, numbers = set[str](), 0, iter(range(count))

    async def caller() -> None:
        nonlocal cut
        async with httpx.AsyncClient(timeout=20) as client:
            for number in numbers:
                if number in kill_at:
                    workers(server)[number % 2].send_signal(signal.SIGKILL)
                    site.write(number, weight=0.5)
                try:
                    answer = await client.post(server.infer, json=named(float(number)))
                except httpx.TransportError:
                    cut += 1  # its connection was the killed worker's
                    continue
                assert answer.status_code == 200, answer.text
                acknowledged.add(answer.json()["parameters"]["prediction_id"])

    await asyncio.gather(*(caller() for _ in range(16)))
    return acknowledged, cut


@pytest.mark.parametrize("mode", ["written", "durable"])
def test_a_worker_that_is_killed_loses_nothing_acknowledged(site: Site, start: Start, mode: str) -> None:
    site.write(1)
    with start(site, "--workers", "2", "--journal-mode", mode) as server:
        before = {process.pid for process in workers(server)}
        assert len(before) == 2
        acknowledged, cut = asyncio.run(load(server, 3000, frozenset({500, 1001, 1500, 2001}), site))
        assert cut <= 4 * 16
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
        assert not before & {process.pid for process in workers(server)}
        server.process.send_signal(signal.SIGTERM)
        _, told = server.process.communicate(timeout=20)
        assert (server.process.returncode, told.count("it is started again")) == (0, 4), told
    records = read_journal(site.journal)
    assert [r.number for r in records] == list(range(1, len(records) + 1))
    ids = [r.id for r in records if r.kind == "prediction"]
    assert len(set(ids)) == len(ids)
    assert acknowledged <= set(ids)
    assert len(acknowledged) + cut == 3000


def test_any_worker_shows_what_all_of_them_counted(site: Site, start: Start) -> None:
    site.write(3)
    with start(site, "--workers", "3") as server:
        for number in range(60):  # a new connection each: whoever is free takes it
            assert httpx.post(server.infer, json=named(float(number))).status_code == 200
        for _ in range(6):
            page = httpx.get(f"{server.url}/metrics").text
            assert 'everloop_predictions_total{model="rides",variant="champion",version="v1"} 60.0' in page
            assert "everloop_plan_generation 3.0" in page
        assert httpx.get(f"{server.url}/v2").json()["workers"] == 3


def test_workers_share_the_port_of_grpc_too(site: Site, start: Any) -> None:
    import tritonclient.grpc

    site.write(1)
    with start(site, "--workers", "2", "--grpc-port", "0") as server:
        for _ in range(6):
            with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
                assert client.is_model_ready("rides")


def test_workers_end_with_a_parent_that_is_killed(site: Site, start: Start) -> None:
    with start(site, "--workers", "2") as server:
        orphans = workers(server)
        server.process.kill()
        _, alive = psutil.wait_procs(orphans, timeout=15)
        assert not alive


def test_a_worker_that_cannot_start_ends_the_server_with_its_reason(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def work(_number: int, _ready: Any) -> None:
        raise SystemError_("the disk is gone")

    with pytest.raises(SystemError_, match=r"worker \d ended with 3: its words above say why"):
        run_workers(2, work, lambda: None)
    assert "error: the disk is gone" in capfd.readouterr().err
