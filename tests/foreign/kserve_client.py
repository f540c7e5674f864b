"""Run by KServe's interpreter: its REST client against the server at argv[1], its gRPC client at argv[2]."""

import asyncio
import sys

from kserve import (  # type: ignore[import-not-found,unused-ignore]
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)

INPUTS = [InferInput(n, [1], "FP64", data=[v]) for n, v in (("hour", 8.0), ("temp", 0.5), ("hum", 0.25))]


async def main(url: str, grpc: str) -> None:
    """Ask the same of both; print what they understood."""
    rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=10))
    print(await rest.is_server_ready(url), await rest.is_model_ready(url, "rides"))
    answer = await rest.infer(url, InferRequest("rides", INPUTS), model_name="rides")
    print(answer.outputs[0].name, answer.outputs[0].data)
    try:
        await rest.infer(url, InferRequest("rides", INPUTS[:1]), model_name="rides")
    except Exception as error:
        print(error)
    client = InferenceGRPCClient(grpc, timeout=10)
    print(await client.is_server_ready(), await client.is_model_ready("rides"))
    answer = await client.infer(InferRequest("rides", INPUTS))
    print(answer.outputs[0].name, answer.outputs[0].as_numpy().tolist())
    try:
        await client.infer(InferRequest("rides", INPUTS[:1]))
    except Exception as error:
        print(str(error).replace("\n", " "))


asyncio.run(main(sys.argv[1], sys.argv[2]))
