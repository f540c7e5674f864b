"""What a request costs the server: against a bare ASGI application around ONNX Runtime, and against other servers.

One row of 12 numbers, interleaved rounds over keep-alive connections, the same linear model everywhere. Everloop runs
with its journal on, sticky routing between two versions by a header, and the schema guard. The floor decodes the same
request, feeds the same graph and encodes the same answer, and does nothing else: no check, no routing, no journal, no
metrics. CPU and memory are those of all of a server's processes. Peers are installed by uv, each in an environment of
its own.

    python bench/serving [--peers mlserver,kserve,...] [--requests 3000] [--rounds 7] [--connections 16]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import peers
from client import Round, load, measure, request_of, resident
from places import site_options, write_site

PATIENCE = 120
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "everloop" / "bench"


class Served(NamedTuple):
    """A server under way: its first process, its port, its request, and the seconds until its first answer."""

    pid: int
    port: int
    request: bytes
    first: float


def main() -> None:
    """Print a table of medians over the rounds, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help=f"of {', '.join(peers.PEERS)}, or all")
    parser.add_argument("--environments", type=Path, default=CACHE, help="where peers are installed")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--mode", default="written", choices=("written", "durable", "buffered"))
    given = parser.parse_args()
    asked = list(peers.PEERS) if given.peers == "all" else [name for name in given.peers.split(",") if name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        servers = start(Path(folder), given.mode, running)
        for name in asked:
            print(f"starting {name}: {peers.PEERS[name].told}", file=sys.stderr)
            try:
                servers[name] = running.enter_context(peer(name, given.environments, Path(folder)))
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                print(f"{name} could not be started: {error}")
        compare(servers, given.requests, given.rounds, given.connections, given.mode)


def start(folder: Path, mode: str, running: ExitStack) -> dict[str, Served]:
    """Start Everloop with one worker, with two, with the outlier guard, and the floor."""
    write_site(folder)
    ours = ["-m", "everloop.serving", "--port=0", f"--journal-mode={mode}"]
    commands = {
        "everloop": [*ours, *site_options(folder)],
        "with outlier guard": [*ours, *site_options(folder, "guarded")],
        "with 2 workers": [*ours, *site_options(folder), f"--journal={folder / 'journal-of-two'}", "--workers=2"],
        "floor": [str(Path(__file__).with_name("floor.py")), str(folder / "bundles" / "plan" / "v1" / "model.onnx")],
    }
    return {name: running.enter_context(own(command)) for name, command in commands.items()}


@contextmanager
def own(command: list[str]) -> Iterator[Served]:
    """Run one of our servers."""
    request = request_of("/v2/models/rides/infer", peers.MATRIX)
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        asyncio.run(load(port, request, 1, 1))
        yield Served(process.pid, port, request, time.perf_counter() - began)
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def peer(name: str, place: Path, folder: Path) -> Iterator[Served]:
    """Run another server; raises RuntimeError with the end of its log where it never answers."""
    peers.environment(name, place)
    began = time.perf_counter()
    process, port = peers.start(name, place, folder, folder / "bundles" / "plan" / "v1" / "model.onnx")
    request = request_of(peers.PEERS[name].path, peers.PEERS[name].body)
    try:
        while True:
            try:
                asyncio.run(load(port, request, 1, 1))
                break
            except (OSError, RuntimeError, ValueError) as error:
                if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                    log = " ".join((folder / name / "log").read_text(errors="replace").split())[-600:]
                    raise RuntimeError(f"{error}: {log}") from error
                time.sleep(0.1)
        yield Served(process.pid, port, request, time.perf_counter() - began)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def compare(servers: dict[str, Served], requests: int, rounds: int, connections: int, mode: str) -> None:
    """Measure the servers in turn; the medians of the rounds' ratios are the figures."""
    found: dict[str, list[Round]] = {name: [] for name in servers}
    for one in servers.values():
        measure(one.pid, one.port, one.request, max(requests // 4, connections), connections)  # warm
    for _ in range(rounds):
        for name, one in servers.items():
            few = max(requests // 6, connections) if name in peers.PEERS else requests
            found[name].append(measure(one.pid, one.port, one.request, few, connections))
    print(f"journal {mode}, {connections} connections, {rounds} rounds of {requests} requests (peers: a sixth)")
    print(f"{'server':20}{'CPU us':>9}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'MB':>9}{'first s':>9}", end="")
    print(f"{'CPU, times ours':>17}{'our req/s, times':>18}")
    for name, values in found.items():
        cpu, rate, p50, p99 = (statistics.median(column) for column in zip(*values, strict=True))
        memory = resident(servers[name].pid)
        print(f"{name:20}{cpu:9.1f}{rate:9.0f}{p50:9.2f}{p99:9.2f}{memory:9.1f}{servers[name].first:9.2f}", end="")
        pairs = list(zip(values, found["everloop"], strict=True))
        more = statistics.median(one.cpu / ours.cpu for one, ours in pairs)
        slower = statistics.median(ours.rate / one.rate for one, ours in pairs)
        print(f"{more:17.2f}{slower:18.1f}")
    for name in ("everloop", "with outlier guard"):
        pairs = list(zip(found[name], found["floor"], strict=True))
        cpu = statistics.median(ours.cpu / floor.cpu for ours, floor in pairs)
        p99 = statistics.median(ours.p99 / floor.p99 for ours, floor in pairs)
        print(f"{name}, to the floor: CPU a request {cpu:.2f}, p99 {p99:.2f}")


if __name__ == "__main__":
    main()
