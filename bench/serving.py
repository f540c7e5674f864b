"""CPU microseconds per request of the server, against a bare ASGI application around ONNX Runtime.

One worker, one row of 12 numbers as named columns, journal `written`, interleaved rounds over keep-alive
connections. The floor decodes the same request, feeds the same graph and encodes the same answer, and does
nothing else: no check, no routing, no journal, no metrics. Only the server's own process is counted.

    python bench/serving.py [--requests 3000] [--rounds 7] [--connections 8]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from everloop import bundles
from everloop.bundles import Manifest, SigningKey
from everloop.serving.plan import write_plan
from everloop.serving.server import bind, run
from everloop.types import Column, Plan, Variant

COLUMNS = [f"x{i}" for i in range(12)]


def main() -> None:
    """Print one line a round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--mode", default="written", choices=("written", "durable", "buffered"))
    parser.add_argument("--floor", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.floor:
        run(Floor(given.floor.read_bytes()), bind("127.0.0.1", 0), lambda url: print(f"server {url}", flush=True))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_site(Path(folder))
        compare(Path(folder), given.requests, given.rounds, given.connections, given.mode)


def compare(folder: Path, requests: int, rounds: int, connections: int, mode: str) -> None:
    """Measure both servers in turn; the median of the rounds' ratios is the figure."""
    ours = start("-m", "everloop.serving", "--port=0", f"--journal-mode={mode}", *site_options(folder))
    floor = start(__file__, "--floor", str(folder / "bundles" / "v1" / "model.onnx"))
    processes = {"everloop": ours, "floor": floor}
    found: dict[str, list[float]] = {name: [] for name in processes}
    try:
        ports = {name: port_of(process) for name, process in processes.items()}
        for process, port in ((p, ports[n]) for n, p in processes.items()):
            measure(process, port, requests // 4, connections)  # warm
        for number in range(rounds):
            for name, process in processes.items():
                found[name].append(measure(process, ports[name], requests, connections))
            print(f"round {number + 1}   everloop {found['everloop'][-1]:6.1f} us   floor {found['floor'][-1]:6.1f} us")
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    ratio = statistics.median(a / b for a, b in zip(found["everloop"], found["floor"], strict=True))
    middle = {name: statistics.median(values) for name, values in found.items()}
    print(f"CPU a request, journal {mode}, {connections} connections: ", end="")
    print(f"everloop {middle['everloop']:.1f} us, floor {middle['floor']:.1f} us, ratio {ratio:.2f}")


class Floor:
    """The least that an inference over HTTP can be in Python."""

    def __init__(self, graph: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._decode = msgspec.json.Decoder(FloorRequest).decode
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        request = self._decode((await receive())["body"])
        feeds = {t.name: np.array(t.data, dtype=np.float64).reshape(-1, 1) for t in request.inputs}
        data = self._session.run(None, feeds)[0].reshape(-1).tolist()
        output = {"name": "prediction", "datatype": "FP64", "shape": [len(data)], "data": data}
        body = self._encode({"model_name": "rides", "model_version": "v1", "outputs": [output]})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class FloorTensor(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class FloorRequest(msgspec.Struct):
    inputs: list[FloorTensor]


class Caller(asyncio.Protocol):
    """One keep-alive connection that sends its request again as soon as the answer is there."""

    def __init__(self, request: bytes, left: int, done: asyncio.Future[None]) -> None:
        self._request, self._left, self.done, self._buffer = request, left, done, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if not separator or len(body) < length:
            return
        if b" 200 " not in head:
            self.done.set_exception(RuntimeError(self._buffer.decode()))
        self._buffer, self._left = b"", self._left - 1
        if self._left > 0:
            self._transport.write(self._request)
        elif not self.done.done():
            self._transport.close()
            self.done.set_result(None)


def measure(process: subprocess.Popen[str], port: int, requests: int, connections: int) -> float:
    """Return the CPU microseconds that a process spends on each of so many requests."""
    before = cpu_seconds(process.pid)
    asyncio.run(load(port, requests, connections))
    return (cpu_seconds(process.pid) - before) / (requests // connections * connections) * 1e6


async def load(port: int, requests: int, connections: int) -> None:
    inputs = [{"name": n, "shape": [1], "datatype": "FP64", "data": [i + 0.5]} for i, n in enumerate(COLUMNS)]
    body = msgspec.json.encode({"inputs": inputs})
    lines = ("POST /v2/models/rides/infer HTTP/1.1", "host: x", f"content-length: {len(body)}", "", "")
    request = "\r\n".join(lines).encode() + body
    await asyncio.gather(*(call(port, request, requests // connections) for _ in range(connections)))


async def call(port: int, request: bytes, times: int) -> None:
    loop = asyncio.get_running_loop()
    caller = Caller(request, times, loop.create_future())
    await loop.create_connection(lambda: caller, "127.0.0.1", port)
    await caller.done


def cpu_seconds(pid: int) -> float:
    """Return what a process has used, to the nanosecond: its CPU clock has the id of clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def write_site(folder: Path) -> None:
    """Write a signed bundle of a small linear model over 12 columns, and a plan that serves it."""
    nodes = [
        helper.make_node("Concat", COLUMNS, ["row"], axis=1),
        helper.make_node("MatMul", ["row", "weights"], ["prediction"]),
    ]
    weights = helper.make_tensor("weights", TensorProto.DOUBLE, [12, 1], [0.1 * i for i in range(12)])
    inputs = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, [None, 1]) for n in COLUMNS]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None, 1])]
    graph = helper.make_graph(nodes, "bench", inputs, outputs, initializer=[weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    columns = tuple(Column(n, "float64") for n in COLUMNS)
    manifest = Manifest(
        name="rides",
        task="regression",
        inputs=columns,
        outputs=(Column("prediction", "float64"),),
        run="run-1",
        data_version="data-1",
        created=0.0,
    )
    key = SigningKey.create(folder / "keys")
    bundles.write(folder / "bundles" / "v1", manifest, {"model.onnx": model.SerializeToString()}, key)
    write_plan(folder / "plan.json", Plan(1, "rides", (Variant("v1", "bundles/v1", "champion", 1.0),)))


def site_options(folder: Path) -> list[str]:
    places = {"plan": "plan.json", "journal": "journal", "keys": "keys", "root": "."}
    return [f"--{name}={folder / place}" for name, place in places.items()]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout
    return int(process.stdout.readline().rpartition(":")[2])


if __name__ == "__main__":
    main()
