from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skl2onnx.sklapi import CastTransformer
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.serving.sites import RIDES, SHOP, rides_graph, shop_graph, write_bundle

from everloop import bundles
from everloop.bundles import SigningKey, trusted
from everloop.errors import BundleError, RequestError
from everloop.inference import Model
from everloop.training import to_onnx
from everloop.training.estimators import with_cast
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


@pytest.mark.parametrize("wrong", ["an input too many", "an input too few", "an output"])
def test_a_graph_that_is_not_the_manifests_does_not_load(tmp_path: Path, key: SigningKey, wrong: str) -> None:
    fields: dict[str, Any] = {"outputs": (Column("answer", "float64"),)} if wrong == "an output" else {}
    inputs = {"an input too many": (*RIDES, Column("wind", "float64")), "an input too few": RIDES[1:]}.get(wrong, RIDES)
    write_bundle(tmp_path / "rides", key, "rides", rides_graph(0.0), inputs, **fields)
    name = {"an input too many": "wind", "an input too few": "hour"}.get(wrong, "answer")
    with pytest.raises(BundleError, match=f"the graph and the manifest of .*/rides differ in '{name}': build it again"):
        Model.load(tmp_path / "rides", trusted(tmp_path / "keys"))


def test_a_bundle_without_a_graph_does_not_load(tmp_path: Path, key: SigningKey, rides: Model) -> None:
    bundles.write(tmp_path / "empty", rides.manifest, {"schema.json": b"{}"}, key)
    with pytest.raises(BundleError, match=r"holds no model\.onnx"):
        Model.load(tmp_path / "empty", trusted(tmp_path / "keys"))


def test_no_rows_no_answers(rides: Model) -> None:
    assert rides.predict_lists({"hour": [], "temp": [], "hum": []}) == {"prediction": []}


def test_text_that_is_no_unicode_is_refused(shop: Model) -> None:
    with pytest.raises(RequestError, match=r"the model refuses the input: .* surrogates not allowed"):
        shop.predict_lists({"price": [1.0], "count": [1], "member": [True], "city": ["\ud800"]})


def table(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "price": rng.normal(10.0, 3.0, rows),
            "count": rng.integers(-3, 50, rows),
            "member": rng.random(rows) < 0.4,
            "city": rng.choice(["Bonn", "Oslo", "Århus", "a b-c", ""], rows).astype(object),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "price"] = np.nan
    return frame


def estimator(last: Any) -> Any:
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [
            ("price", make_pipeline(CastTransformer(dtype=np.float32), SimpleImputer()), ["price"]),
            ("count", "passthrough", ["count"]),
            ("member", "passthrough", ["member"]),
            ("city", encode, ["city"]),
        ]
    )
    return with_cast(Pipeline([("columns", columns), ("model", last)]))


def strange(rows: int) -> pd.DataFrame:
    """Return rows with missing numbers and with cities that training never saw."""
    frame = table(rows, seed=2)
    frame.loc[::3, "city"] = ["Rome", "bonn", "Oslo ", "Bonn\0"] * (rows // 12)
    frame.loc[::4, "price"] = np.nan
    frame.loc[::5, "count"] = -(2**31)
    return frame


def lists(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the columns as a request brings them: a missing number is None."""
    values = {str(name): column.tolist() for name, column in frame.items()}
    return values | {"price": [None if np.isnan(v) else v for v in values["price"]]}


@pytest.mark.filterwarnings("ignore:Field onnx.AttributeProto:DeprecationWarning")  # the converter's, by protobuf
@pytest.mark.parametrize("last", [Ridge(), HistGradientBoostingRegressor(max_iter=20, random_state=1)], ids=str)
def test_it_answers_numbers_as_scikit_learn_does(tmp_path: Path, key: SigningKey, last: Any) -> None:
    known, asked = table(300, seed=1), strange(120)
    target = known["price"].fillna(0.0) * 2 + known["count"] - known["member"] * 5 + known["city"].str.len()
    fitted = estimator(last).fit(known, target)
    write_bundle(tmp_path / "b", key, "shop", to_onnx(fitted, SHOP, "regression"), SHOP)
    model = Model.load(tmp_path / "b", trusted(tmp_path / "keys"))
    assert model.predict_lists(lists(asked))["prediction"] == pytest.approx(fitted.predict(asked), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("classes", [("no", "yes"), (0, 1), (1, 2, 5), (False, True)])
def test_it_answers_classes_as_scikit_learn_does(tmp_path: Path, key: SigningKey, classes: tuple[Any, ...]) -> None:
    known, asked = table(300, seed=1), strange(120)
    place = (known["count"] + known["city"].str.len() * 9) % 60 * len(classes) // 60
    fitted = estimator(LogisticRegression(max_iter=500)).fit(known, np.array(classes)[place])
    dtype = {str: "string", int: "int64", bool: "bool"}[type(classes[0])]
    outputs = (Column("label", dtype), Column("probability", "float64", shape=(len(classes),)))  # type: ignore[arg-type]
    graph = to_onnx(fitted, SHOP, "classification")
    write_bundle(tmp_path / "b", key, "shop", graph, SHOP, task="classification", outputs=outputs, classes=classes)
    answers = Model.load(tmp_path / "b", trusted(tmp_path / "keys")).predict_lists(lists(asked))
    assert answers["probability"] == [pytest.approx(row, abs=1e-4) for row in fitted.predict_proba(asked).tolist()]
    clear = np.abs(np.diff(np.sort(fitted.predict_proba(asked), axis=1)[:, -2:])).ravel() > 1e-3
    assert np.array(answers["label"])[clear].tolist() == fitted.predict(asked)[clear].tolist()


@pytest.mark.filterwarnings("ignore:Field onnx.AttributeProto:DeprecationWarning")  # the converter's, by protobuf
def test_equal_rows_give_equal_bits_at_one_batch_shape(tmp_path: Path, key: SigningKey) -> None:
    known = table(300, seed=1)
    fitted = estimator(HistGradientBoostingRegressor(max_iter=20, random_state=1)).fit(known, known["count"] * 1.5)
    write_bundle(tmp_path / "b", key, "shop", to_onnx(fitted, SHOP, "regression"), SHOP)
    answers = [
        Model.load(tmp_path / "b", trusted(tmp_path / "keys")).predict_lists(lists(strange(48))) for _ in range(2)
    ]
    assert answers[0] == answers[1]
