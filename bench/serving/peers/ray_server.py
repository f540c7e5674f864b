"""Ray Serve's deployment around the graph."""

import signal
import sys

from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1)
class Rides:
    """The graph as a deployment."""

    def __init__(self) -> None:
        from graph import answer

        self.answer = answer

    async def __call__(self, request: Request) -> dict:
        return {"prediction": self.answer((await request.json())["row"])}


serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(Rides.bind(), route_prefix="/predict")
signal.pause()
