from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from tests.serving.sites import rides_graph, shop_graph

from everloop.errors import BundleError, RequestError
from everloop.inference.runtimes.onnx import OnnxRuntime

ROW: dict[str, Any] = {name: np.ones((1, 1)) for name in ("hour", "temp", "hum")}


def test_a_graph_tells_its_inputs_and_outputs() -> None:
    runtime = OnnxRuntime(shop_graph())
    assert runtime.inputs == ("price", "count", "member", "city")
    assert runtime.outputs == ("label", "probability")


def test_it_answers_by_name() -> None:
    found = OnnxRuntime(rides_graph(5.0)).predict(ROW)
    assert {name: array.tolist() for name, array in found.items()} == {"prediction": [[8.0]]}


@pytest.mark.parametrize("graph", [b"", b"no graph", rides_graph(0.0)[:-20]])
def test_what_is_no_graph_does_not_load(graph: bytes) -> None:
    with pytest.raises(BundleError, match=r"^ONNX Runtime does not load the graph: .") as refused:
        OnnxRuntime(graph)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"hour": ROW["hour"]},
        ROW | {"wind": ROW["hour"]},
        ROW | {"hour": np.ones((1, 1), dtype=np.float32)},
        ROW | {"hour": np.ones((1, 1), dtype=np.int64)},
        ROW | {"hour": np.array([["x"]], dtype=object)},
        ROW | {"hour": np.ones(1)},
        ROW | {"hour": np.ones((1, 2))},
        ROW | {"hour": np.ones((2, 1)), "hum": np.ones((3, 1))},
        ROW | {"hour": 1.0},
    ],
    ids=["none", "missing", "unknown", "float32", "int64", "text", "flat", "wide", "rows", "scalar"],
)
def test_wrong_tensors_are_refused_in_a_sentence(feeds: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RequestError, match=r"^the model refuses the input: .") as refused:
        OnnxRuntime(rides_graph(0.0)).predict(feeds)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_threads_share_a_session() -> None:
    runtime = OnnxRuntime(rides_graph(0.0))
    wrong: list[float] = []

    def ask(hour: float) -> None:
        for _ in range(200):
            found = runtime.predict(ROW | {"hour": np.full((1, 1), hour)})["prediction"]
            wrong.extend(v for v in found.ravel() if v != hour + 2.0)

    threads = [threading.Thread(target=ask, args=(float(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
