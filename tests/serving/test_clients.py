"""Clients that nobody here wrote, against a running server."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http as triton
from tests.serving.sites import Site, named
from tritonclient.utils import InferenceServerException

COLUMNS = {"hour": 1.5, "temp": 2.25, "hum": 3.0}


def tensors(binary: bool, rows: int = 1) -> list[Any]:
    found = []
    for name, value in COLUMNS.items():
        tensor = triton.InferInput(name, [rows], "FP64")
        tensor.set_data_from_numpy(np.full(rows, value), binary_data=binary)
        found.append(tensor)
    return found


@pytest.fixture
def server(site: Site, start: Any) -> Any:
    site.write(1)
    with start(site) as running:
        client = triton.InferenceServerClient(running.url.removeprefix("http://"))
        yield client, site
        client.close()


def test_tritonclient_over_http(server: tuple[Any, Site]) -> None:
    client, site = server
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("rides")
    assert not client.is_model_ready("rides", "v9")
    assert client.get_server_metadata()["name"] == "everloop"
    metadata = client.get_model_metadata("rides")
    assert [t["name"] for t in metadata["inputs"]] == list(COLUMNS)
    for binary_in in (True, False):
        for binary_out in (True, False):
            wanted = [triton.InferRequestedOutput("prediction", binary_data=binary_out)]
            answer = client.infer("rides", tensors(binary_in, rows=3), outputs=wanted, request_id="mine")
            assert answer.as_numpy("prediction").reshape(-1).tolist() == [6.75] * 3
            assert answer.get_response()["id"] == "mine"
    every = client.infer("rides", tensors(True))
    assert every.as_numpy("prediction").tolist() == [6.75]
    assert client.infer("rides", tensors(True), model_version="v1").get_response()["model_version"] == "v1"
    with pytest.raises(InferenceServerException, match="no model 'ride'"):
        client.infer("ride", tensors(True))
    with pytest.raises(InferenceServerException, match="missing tensors 'temp', 'hum'"):
        client.infer("rides", tensors(True)[:1])
    assert len(site.records("prediction")) == 6


def test_an_asynchronous_caller(server: tuple[Any, Site]) -> None:
    client, _ = server
    under_way = [client.async_infer("rides", tensors(True)) for _ in range(20)]
    assert {float(u.get_result().as_numpy("prediction")[0]) for u in under_way} == {6.75}


def test_tritonclient_over_grpc(site: Site, start: Any) -> None:
    site.write(1)
    with start(site, "--grpc-port", "0") as running:
        client = tritonclient.grpc.InferenceServerClient(running.grpc)
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("rides")
        assert client.get_server_metadata().name == "everloop"
        metadata = client.get_model_metadata("rides")
        assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [(c, "FP64", [-1]) for c in COLUMNS]
        assert list(metadata.versions) == ["v1", "v2"]
        given = []
        for name, value in COLUMNS.items():
            given.append(tritonclient.grpc.InferInput(name, [3], "FP64"))
            given[-1].set_data_from_numpy(np.full(3, value))
        answer = client.infer("rides", given, request_id="mine", headers={"x-everloop-version": "v2"})
        assert answer.as_numpy("prediction").tolist() == [1006.75] * 3
        told = answer.get_response()
        assert (told.id, told.model_version) == ("mine", "v2")
        assert told.parameters["variant"].string_param == "candidate"
        assert site.records("prediction")[-1].id == told.parameters["prediction_id"].string_param
        with pytest.raises(InferenceServerException, match=r"NOT_FOUND.*no model 'ride' \(did you mean 'rides'"):
            client.infer("ride", given)
        with pytest.raises(InferenceServerException, match=r"NOT_FOUND.*no version 'v9'"):
            client.is_model_ready("rides", "v9")
        with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.*missing tensors 'temp', 'hum'"):
            client.infer("rides", given[:1])
        client.close()
    assert len(site.records("prediction")) == 1


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_tritonclient_unloads_and_loads(site: Site, start: Any, kind: str) -> None:
    site.write(1)
    token = site.folder / "token"
    token.write_text("secret")
    with start(site, "--grpc-port", "0", "--token-file", str(token)) as running:
        client: Any = (
            triton.InferenceServerClient(running.url.removeprefix("http://"))
            if kind == "http"
            else tritonclient.grpc.InferenceServerClient(running.grpc)
        )
        headers = {"authorization": "Bearer secret"}

        def states() -> list[tuple[str, str, str]]:
            told = client.get_model_repository_index(headers=headers)
            models = [SimpleNamespace(**model) for model in told] if kind == "http" else told.models
            return [(m.name, m.version, m.state) for m in models]

        for verb in (client.get_model_repository_index, partial(client.unload_model, "rides")):
            with pytest.raises(InferenceServerException, match="send the server's token"):
                verb()
        assert states() == [("rides", "v1", "READY"), ("rides", "v2", "READY")]
        client.unload_model("rides", headers=headers)
        assert states() == [("rides", "v1", "UNAVAILABLE"), ("rides", "v2", "UNAVAILABLE")]
        assert not client.is_model_ready("rides")
        assert not client.is_server_ready()
        assert httpx.post(running.infer, json=named(1.0)).status_code == 503
        with pytest.raises(InferenceServerException, match="no model 'ride'"):
            client.load_model("ride", headers=headers)
        with pytest.raises(InferenceServerException, match="models come from the plan alone"):
            client.load_model("rides", headers=headers, config="{}")
        client.load_model("rides", headers=headers)
        assert client.is_model_ready("rides")
        assert httpx.post(running.infer, json=named(1.0)).status_code == 200
        client.close()


def test_what_is_unloaded_stays_so_for_every_worker_and_after_a_restart(site: Site, start: Any) -> None:
    site.write(1)
    with start(site) as running:
        assert httpx.post(f"{running.url}/v2/repository/models/rides/unload").json() == {}
    site.write(2, weight=0.5)
    with start(site) as running:
        assert httpx.post(running.infer, json=named(1.0)).status_code == 503
        assert httpx.post(f"{running.url}/v2/repository/index", json={"ready": True}).json() == []
        assert httpx.post(f"{running.url}/v2/repository/models/rides/load").json() == {}
        assert httpx.post(running.infer, json=named(1.0)).status_code == 200
