"""LitServe's server around the graph."""

import sys

import litserve
from graph import answer


class Rides(litserve.LitAPI):
    """The graph as an API."""

    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request: dict) -> list:
        return request["row"]

    def predict(self, row: list) -> list:
        return answer(row)

    def encode_response(self, output: list) -> dict:
        return {"prediction": output}


if __name__ == "__main__":
    litserve.LitServer(Rides(), accelerator="cpu", workers_per_device=1).run(
        port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1, generate_client_file=False, log_level="error"
    )
