"""The floor: a bare ASGI application around ONNX Runtime, run as `python floor.py model.onnx`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from everloop.serving.server import bind, run


class Floor:
    """The least that an inference over HTTP can be in Python."""

    def __init__(self, graph: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._names = [i.name for i in self._session.get_inputs()]
        self._decode = msgspec.json.Decoder(FloorRequest).decode
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        request = self._decode((await receive())["body"])
        row = np.array(request.inputs[0].data, dtype=np.float64).reshape(-1, len(self._names))
        feeds = {name: row[:, place : place + 1] for place, name in enumerate(self._names)}
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


if __name__ == "__main__":
    run(Floor(Path(sys.argv[1]).read_bytes()), bind("127.0.0.1", 0), lambda url: print(f"server {url}", flush=True))
