"""`kill -9` of each process of `everloop up` in turn, under load: nothing acknowledged is lost, the loop goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.buckets import free_port
from tests.projects import write_project

from everloop.journal import Reader
from everloop.loop.asking import ask
from everloop.loop.client import Client, infer_request
from everloop.loop.commands import RETRAIN
from everloop.loop.lease import holder
from everloop.serving.protocol import FeedbackItem
from everloop.types import new_id

DATATYPES = {"a": "FP64", "b": "FP64", "hour": "FP64"}


class Load(threading.Thread):
    """A caller who never stops: each answered prediction and each taken label is remembered."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._client, self._seed = Client(url, "toy", patience=60.0), seed
        self.predicted: set[str] = set()
        self.labelled: set[str] = set()
        self.enough = threading.Event()

    def run(self) -> None:
        with contextlib.closing(self._client):
            self._ask(np.random.default_rng(self._seed))

    def _ask(self, rng: np.random.Generator) -> None:
        while not self.enough.is_set():
            columns = {name: [float(value)] for name, value in zip(DATATYPES, rng.normal(size=3), strict=True)}
            asked = infer_request(columns, DATATYPES, id=new_id(time.time()))
            id = str(self._client.infer(asked).parameters["prediction_id"])
            self.predicted.add(id)
            self._client.feedback([FeedbackItem(prediction=id, value=float(rng.normal()), row=0)])
            self.labelled.add(id)

    def goes_on(self) -> None:
        """Wait for fifty more answers."""
        count = len(self.labelled)
        until(lambda: len(self.labelled) > count + 50 or not self.is_alive())
        assert self.is_alive(), "a caller was refused"


def until(met: Callable[[], bool]) -> None:
    for _ in range(1200):
        if met():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it did not come to that within a minute")


def process_of(up: int, verb: str) -> psutil.Process:
    """Return the process of `up` that runs a verb, as soon as there is one."""
    found: list[psutil.Process] = []

    def look() -> bool:
        with contextlib.suppress(psutil.Error):
            found[:] = [
                p for p in psutil.Process(up).children() if verb in p.cmdline() and "leash" not in str(p.cmdline())
            ]
        return bool(found)

    until(look)
    return found[0]


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "everloop.cli", "up", "--project", str(folder), "--port", str(port)]
    with (folder / "up.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a killed supervisor takes its processes along on Linux only")
def test_killed_in_turn_under_load(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path / "project"), free_port()
    place = folder / ".everloop" / "controller.lease"
    up = start(folder, port)
    callers = [Load(f"http://127.0.0.1:{port}", seed) for seed in (1, 2)]
    try:
        for caller in callers:
            caller.start()
            caller.goes_on()
        for verb in ("serve", "controller"):
            victim = process_of(up.pid, verb)
            victim.send_signal(signal.SIGKILL)
            for caller in callers:
                caller.goes_on()
            while process_of(up.pid, verb).pid == victim.pid:
                threading.Event().wait(0.05)
        until(lambda: holder(place) is not None)
        family = psutil.Process(up.pid).children()
        os.kill(up.pid, signal.SIGKILL)
        up.wait()
        up = start(folder, port)
        for caller in callers:
            caller.goes_on()
        assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family)
        outcome = ask(folder, RETRAIN, {"reason": "still here"})  # by the controller that runs
        assert (outcome["version"], outcome["gate"]["check"]) == ("v2", "beats_champion")
        for caller in callers:
            caller.goes_on()
            caller.enough.set()
            caller.join(60)
    finally:
        for caller in callers:
            caller.enough.set()
        up.send_signal(signal.SIGTERM)
        up.wait(60)
    assert up.returncode == 0, (folder / "up.log").read_text()
    predicted, labelled = journalled(folder / ".everloop" / "journal")
    answered = set.union(*(caller.predicted for caller in callers))
    assert len(answered) > 500
    assert answered <= predicted.keys()
    assert set.union(*(caller.labelled for caller in callers)) <= labelled.keys()
    print(f"{len(answered)} predictions answered, none lost; {sum(predicted.values()) - len(predicted)} sent again")


def journalled(folder: Path) -> tuple[Counter[str], Counter[str]]:
    predicted, labelled = Counter[str](), Counter[str]()
    with contextlib.closing(Reader(folder)) as reader:
        while records := reader.poll(1000):
            predicted.update(r.id for r in records if r.kind == "prediction")
            labelled.update(r.id for r in records if r.kind == "feedback")
    return predicted, labelled
