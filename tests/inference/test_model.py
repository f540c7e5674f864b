from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.sites import RIDES, SHOP, rides_graph, shop_graph, write_bundle

from everloop.bundles import SigningKey, trusted
from everloop.errors import BundleError, RequestError
from everloop.inference import Model
from everloop.types import Column


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "keys")


@pytest.fixture
def rides(tmp_path: Path, key: SigningKey) -> Model:
    write_bundle(tmp_path / "rides", key, "rides", rides_graph(100.0), RIDES)
    return Model.load(tmp_path / "rides", trusted(tmp_path / "keys"))


@pytest.fixture
def shop(tmp_path: Path, key: SigningKey) -> Model:
    outputs = (Column("label", "int64", "categorical"), Column("probability", "float64", shape=(2,)))
    write_bundle(
        tmp_path / "shop", key, "shop", shop_graph(), SHOP, task="classification", outputs=outputs, classes=(0, 1)
    )
    return Model.load(tmp_path / "shop", trusted(tmp_path / "keys"))


def test_columns_in_columns_out(rides: Model) -> None:
    answers = rides.predict({"hour": np.array([1.0, 2.0]), "temp": np.array([0.5, 0.5]), "hum": np.array([0.0, 1.0])})
    assert answers["prediction"].tolist() == [101.5, 103.5]


def test_lists_in_lists_out_with_every_type(shop: Model) -> None:
    answers = shop.predict_lists({"price": [1.0, 2.0], "count": [1, 2], "member": [True, False], "city": ["Bonn", "?"]})
    assert answers["label"] == [1, 1]
    assert np.sum(answers["probability"], axis=1) == pytest.approx([1.0, 1.0])
    assert [len(p) for p in answers["probability"]] == [2, 2]


def test_a_missing_number_is_nan(rides: Model) -> None:
    assert np.isnan(rides.predict_lists({"hour": [None], "temp": [1.0], "hum": [1.0]})["prediction"][0])


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
def test_the_answer_does_not_depend_on_the_neighbours(rides: Model, rows: int) -> None:
    rng = np.random.default_rng(rows)
    values = {name: rng.normal(size=rows) for name in ("hour", "temp", "hum")}
    together = rides.predict(values)["prediction"]
    alone = [rides.predict({n: v[i : i + 1] for n, v in values.items()})["prediction"][0] for i in range(rows)]
    assert together.tolist() == alone


def test_a_graph_that_is_none_does_not_load(tmp_path: Path, key: SigningKey) -> None:
    write_bundle(tmp_path / "broken", key, "rides", b"no graph", RIDES)
    with pytest.raises(BundleError, match="ONNX Runtime does not load the graph"):
        Model.load(tmp_path / "broken", trusted(tmp_path / "keys"))


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"hour": np.zeros((1, 1)), "temp": np.zeros((1, 1))}, "the model refuses the input"),
        ({n: np.zeros((1, 1), dtype=np.float32) for n in ("hour", "temp", "hum")}, "the model refuses the input"),
        ({n: np.zeros((1, 1, 1)) for n in ("hour", "temp", "hum")}, "the model refuses the input"),
    ],
    ids=["missing", "type", "shape"],
)
def test_the_graph_refuses_wrong_tensors_in_a_sentence(rides: Model, feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        rides._runtime.predict(feeds)
    assert "\n" not in str(refused.value)
