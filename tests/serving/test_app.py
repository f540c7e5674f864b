"""A real server process over real HTTP: what it answers, what it refuses, what survives its death."""

from __future__ import annotations

import asyncio
import collections
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.serving.sites import Server, Site, Start, error_of, launch, named, read_journal

from everloop.serving.app import main
from everloop.types import Feedback, Prediction

LARGE = 100_000_000


def peak_memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def zeros(size: int) -> Iterator[bytes]:
    for _ in range(size // 100_000):
        yield b"0" * 100_000


def test_a_server_answers_from_its_start_to_its_end(site: Site, start: Start, client: httpx.Client) -> None:
    with start(site) as server:
        assert client.get(f"{server.url}/v2/health/live").status_code == 200
        assert client.get(f"{server.url}/v2/health/ready").status_code == 503
        site.write(3)
        wait_for_generation(client, server, 3)
        answer = client.post(server.infer, json=named(1.0)).json()
        label = {"prediction": answer["parameters"]["prediction_id"], "value": 2.0}
        assert client.post(server.feedback, json=label).json() == {"accepted": 1}
        refused = client.post(server.infer, json=named(1.0, parameters={"time": 5.0}))
        assert (refused.status_code, "from its own clock" in error_of(refused)) == (400, True)
        status = client.get(f"{server.url}/v2").json()
        assert (status["plan_generation"], status["plan_error"], status["journal"]) == (3, None, {"mode": "written"})
        page = client.get(f"{server.url}/metrics").text
        assert "everloop_plan_generation 3.0" in page
        assert "everloop_feedback_total 1.0" in page
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    (prediction,), (feedback,) = site.records("prediction"), site.records("feedback")
    assert prediction.id == feedback.id == label["prediction"]
    assert prediction.time <= feedback.time


def wait_for_generation(client: httpx.Client, server: Server, generation: int) -> None:
    """Ask until the plan is taken over; the test's own time limit ends a wait in vain."""
    while client.get(f"{server.url}/v2").json()["plan_generation"] != generation:
        pass


def test_an_event_clock_takes_the_time_of_the_request(site: Site, start: Start, client: httpx.Client) -> None:
    site.write(1)
    with start(site, "--clock=event", "--journal-mode=durable") as server:
        answer = client.post(server.infer, json=named(1.0, parameters={"time": "2012-05-01T07:00:00Z"})).json()
        label = {"prediction": answer["parameters"]["prediction_id"], "value": 2.0}
        assert "--clock=event" in error_of(client.post(server.infer, json=named(1.0)))
        assert "--clock=event" in error_of(client.post(server.feedback, json=label))
        assert client.post(server.feedback, json={**label, "time": "2012-05-02T07:00:00Z"}).status_code == 200
    assert [r.time for r in site.records("prediction")] == [1335855600.0]
    assert [r.time for r in site.records("feedback")] == [1335855600.0 + 86400]


@pytest.mark.parametrize("announced", [True, False])
def test_a_100_mb_body_is_refused_and_never_held(
    site: Site, start: Start, client: httpx.Client, announced: bool
) -> None:
    site.write(1)
    headers = {"content-length": str(LARGE)} if announced else {}
    with start(site) as server:
        before = peak_memory_mib(server.pid)
        answer = client.post(server.infer, content=zeros(LARGE), headers=headers)
        assert answer.status_code == 413
        assert "larger than 16000000 bytes" in error_of(answer)
        assert peak_memory_mib(server.pid) - before < (10 if announced else 60)
        assert client.post(server.infer, json=named(1.0)).status_code == 200


def test_beyond_this_machine_labels_need_a_token(site: Site, start: Start, client: httpx.Client) -> None:
    site.write(1)
    (site.folder / "token").write_text("geheim\n")
    with start(site, "--host=0.0.0.0", f"--token-file={site.folder / 'token'}") as server:
        label = {"prediction": "018f2c3a-0000-7000-8000-00000000000a", "value": 1}
        url = server.feedback.replace("0.0.0.0", "127.0.0.1")
        assert client.post(url, json=label).status_code == 401
        assert client.post(url, json=label, headers={"authorization": "Bearer geheim"}).status_code == 200


def test_a_second_server_is_refused(site: Site, start: Start, environment: dict[str, str]) -> None:
    site.write(1)
    with start(site) as server:
        port = server.url.rpartition(":")[2]
        for options, reason in (
            (("--port", port), f"port {port} on 127.0.0.1 is in use"),
            ((), f"is written by process {server.pid}"),
        ):
            second = launch(site, environment, *options)
            output, words = second.communicate(timeout=20)
            assert (second.returncode, output, len(words.splitlines())) == (3, "", 1)
            assert reason in words


@pytest.mark.parametrize(
    ("option", "code", "reason"),
    [
        ("--host=0.0.0.0", 2, "--token-file"),
        ("--host=no.such.host.invalid", 2, "lets others send labels"),
        ("--port=70000", 2, "70000 lies outside"),
        ("--keys=/nowhere", 3, "/nowhere cannot be read"),
        ("--token-file=/nowhere", 2, "/nowhere cannot be read"),
    ],
)
def test_what_keeps_a_server_from_starting_is_one_sentence(
    site: Site, capsys: pytest.CaptureFixture[str], option: str, code: int, reason: str
) -> None:
    paths = ["--plan", str(site.plan), "--journal", str(site.journal), "--keys", str(site.keys)]
    assert main([*paths, "--port=0", option]) == code
    output, words = capsys.readouterr()
    assert (output, len(words.splitlines())) == ("", 1)
    assert reason in words


def test_swapping_plans_under_load_loses_no_request(site: Site, start: Start) -> None:
    site.write(1)
    swaps = 20
    with start(site) as server:
        answers = asyncio.run(load_while_swapping(site, server, swaps))
    assert {a.status_code for a in answers} == {200}
    journalled = {r.id: r.read(Prediction) for r in site.records("prediction")}
    assert len(journalled) == len(answers)
    for answer in (a.json() for a in answers):
        assert journalled[answer["id"]].outputs["prediction"] == answer["outputs"][0]["data"]
    versions = collections.Counter(p.version for p in journalled.values())
    assert set(versions) == {"v1", "v2"}
    assert len({p.generation for p in journalled.values()}) >= swaps


async def load_while_swapping(site: Site, server: Server, swaps: int) -> list[httpx.Response]:
    """Send requests on eight connections until all swaps are through, and return all answers."""
    answers: list[httpx.Response] = []
    finished = asyncio.Event()
    async with httpx.AsyncClient(timeout=10.0) as client:

        async def send(number: int) -> None:
            while not finished.is_set():
                answers.append(await client.post(server.infer, json=named(float(number))))

        async def swap() -> None:
            for generation in range(2, swaps + 2):
                site.write(generation, 0.5, champion="v2" if generation % 2 == 0 else "v1")
                while (await client.get(f"{server.url}/v2")).json()["plan_generation"] != generation:
                    pass
                answers.append(await client.post(server.infer, json=named(0.5)))
            finished.set()

        await asyncio.gather(swap(), *(send(number) for number in range(8)))
    return answers


@pytest.mark.parametrize("mode", ["written", "durable"])
def test_kill_9_loses_nothing_acknowledged_and_doubles_nothing(site: Site, start: Start, mode: str) -> None:
    site.write(1, 0.3)
    predicted: list[str] = []
    labelled: list[str] = []
    for _ in range(2):
        with start(site, f"--journal-mode={mode}") as server:
            callers = [threading.Thread(target=call_until_dead, args=(server, predicted, labelled)) for _ in range(4)]
            for caller in callers:
                caller.start()
            enough = len(labelled) + 60
            while len(labelled) < enough:
                callers[0].join(0.01)
            os.kill(server.pid, signal.SIGKILL)
            for caller in callers:
                caller.join()
    found = collections.Counter(r.id for r in site.records("prediction"))
    labels = collections.Counter(r.read(Feedback).prediction for r in site.records("feedback"))
    assert len(predicted) >= 120
    assert {found[id] for id in predicted} == {1}
    assert {labels[id] for id in labelled} == {1}


def call_until_dead(server: Server, predicted: list[str], labelled: list[str]) -> None:
    """Predict and label, noting each acknowledgement, until the server is gone."""
    with httpx.Client(timeout=10.0) as client:
        try:
            while True:
                id = client.post(server.infer, json=named(1.0)).json()["id"]
                predicted.append(id)
                client.post(server.feedback, json={"prediction": id, "value": 1.0}).raise_for_status()
                labelled.append(id)
        except httpx.TransportError:
            return


def test_a_full_disk_refuses_and_keeps_what_was_acknowledged(site: Site, start: Start, client: httpx.Client) -> None:
    site.write(1)
    with start(site) as server:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
        answers = [client.post(server.infer, json=named(1.0)) for _ in range(20)]
        kept = [a.json()["id"] for a in answers if a.status_code == 200]
        full = [a for a in answers if a.status_code != 200]
        assert kept
        assert {a.status_code for a in full} == {503}
        assert full[0].headers["retry-after"] == "1"
        assert "cannot be written" in error_of(full[0])
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        kept.append(client.post(server.infer, json=named(1.0)).json()["id"])
    assert [r.id for r in site.records("prediction")] == kept
    assert [r.number for r in read_journal(site.journal)] == list(range(1, len(kept) + 2))  # and what the server is


def test_serving_imports_quickly(environment: dict[str, str]) -> None:
    """CPU seconds with compiled bytecode; the best of four, for the machine is shared and the first one compiles."""
    code = "import time; a = time.process_time(); import everloop.serving; print(time.process_time() - a)"
    assert min(float(run_python(code, environment)) for _ in range(4)) < 0.5


def test_the_server_stays_on_the_base_install(environment: dict[str, str]) -> None:
    code = "import sys, everloop.serving.app, everloop.serving.server; print(' '.join(sys.modules))"
    loaded = set(run_python(code, environment).split())
    absent = {"pandas", "sklearn", "sqlalchemy", "pyarrow", "typer", "rich", "onnx", "scipy", "everloop.store"}
    assert not loaded & absent


def run_python(code: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
