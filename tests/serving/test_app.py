"""A real server process over real HTTP: what it answers, what it refuses, what survives its death."""

from __future__ import annotations

import httpx
from tests.serving.sites import Site, Start, named


def test_infer(site: Site, start: Start, client: httpx.Client) -> None:
    site.write(1)
    with start(site) as server:
        answer = client.post(server.infer, json=named(1.0))
        print(
            answer.text,
            answer.headers,
            client.get(server.url + "/v2").text,
            client.get(server.url + "/v2/models/rides").text,
        )
        print(client.get(server.url + "/metrics").text)
        print(site.records("prediction"))
