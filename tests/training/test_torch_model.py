from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.training.pictures import COLUMNS, asked, pictured

from everloop.errors import UsageError
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.training import to_onnx
from everloop.training.estimators import with_cast
from everloop.training.torch_model import Shapes, TorchModel
from everloop.types import Column

torch = pytest.importorskip("torch", reason="PyTorch is not installed: the slow suite's set-up does it")
pytestmark = pytest.mark.slow


class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Looks at each column by a layer of its own and adds up what they say."""

    def __init__(self, shapes: Shapes, outputs: int) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.LazyLinear(outputs) for _ in shapes)
        self.names = list(shapes)
        self.forward({name: torch.zeros(2, *shape) for name, shape in shapes.items()})

    def forward(self, columns: Mapping[str, Any]) -> Any:
        parts = [layer(columns[name].flatten(1)) for name, layer in zip(self.names, self.layers, strict=True)]
        return torch.stack(parts).sum(0)


def model(**settings: Any) -> TorchModel:
    return TorchModel(Net, **{"epochs": 30, "learning_rate": 1e-2, **settings})


@pytest.mark.parametrize("target", ["plain", "log"])
def test_loss_falls_and_the_graph_answers_as_the_network(target: str) -> None:
    rows, wanted = pictured()
    fitted = model(target=target).fit(rows, np.abs(wanted) + 1)
    assert len(fitted.loss_curve_) == 30
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0] / 2
    later, _ = pictured(300, seed=1)
    found = asked(to_onnx(fitted, COLUMNS, "regression"), later)
    assert found["prediction"][:, 0] == pytest.approx(fitted.predict(later), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("classes", [(3, 8), (False, True), ("low", "middle", "high")], ids=str)
def test_classes_and_their_probabilities(classes: tuple[Any, ...]) -> None:
    rows, wanted = pictured()
    cuts = np.quantile(wanted, np.arange(1, len(classes)) / len(classes))
    fitted = model().fit(rows, np.array(classes)[np.digitize(wanted, cuts)])
    found = asked(to_onnx(fitted, COLUMNS, "classification"), rows)
    assert found["label"].tolist() == fitted.predict(rows).tolist()
    assert found["probability"] == pytest.approx(fitted.predict_proba(rows), abs=1e-5)
    assert set(fitted.predict(rows)) == set(classes)


def test_the_same_seed_gives_the_same_network_and_leaves_the_others_alone() -> None:
    rows, wanted = pictured(20)
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    graphs = [
        to_onnx(model(epochs=2, random_state=seed).fit(rows, wanted), COLUMNS, "regression") for seed in (1, 1, 2)
    ]
    assert torch.rand(1) == first
    assert graphs[0] == graphs[1] != graphs[2]


def test_a_network_learns_words_that_a_pipeline_counts() -> None:
    rows = pd.DataFrame({"text": ["win a prize", "call and win", "see you at lunch", "are you home"] * 20})
    labels = ["spam", "spam", "ham", "ham"] * 20
    words = make_column_transformer((TfidfVectorizer(max_features=30), "text"))
    fitted = with_cast(make_pipeline(words, model())).fit(rows, labels)
    assert fitted.score(rows, labels) == 1.0
    graph = to_onnx(fitted, (Column("text", "string", "text"),), "classification")
    found = OnnxRuntime(graph).predict({"text": rows[["text"]].to_numpy(dtype=object)})
    assert found["label"].tolist() == labels
    assert found["probability"] == pytest.approx(fitted.predict_proba(rows), abs=1e-5)


def test_a_network_learns_numbers_that_a_pipeline_scales() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(5, 3, 200), "b": rng.normal(size=200)})
    target = (rows["a"] + rows["b"]).to_numpy()
    fitted = with_cast(make_pipeline(StandardScaler(), model())).fit(rows, target)
    assert fitted.score(rows, target) > 0.9
    graph = to_onnx(fitted, (Column("a", "float64"), Column("b", "float64")), "regression")
    found = OnnxRuntime(graph).predict({name: rows[[name]].to_numpy() for name in ("a", "b")})
    assert found["prediction"][:, 0] == pytest.approx(fitted.predict(rows), rel=1e-4, abs=1e-4)


def test_a_graph_for_one_number_of_rows_is_refused() -> None:
    class Counting(Net):
        def forward(self, columns: Mapping[str, Any]) -> Any:
            given = {name: values.reshape(len(values), -1) for name, values in columns.items()}
            return super().forward(given)

    rows, wanted = pictured(20)
    fitted = TorchModel(Counting, epochs=1).fit(rows, wanted)
    with pytest.raises(UsageError, match=r"Counting's graph holds the number of rows .* x\.flatten\(1\)"):
        to_onnx(fitted, COLUMNS, "regression")


def test_a_logarithm_needs_what_is_above_zero() -> None:
    rows, _ = pictured(4)
    with pytest.raises(UsageError, match="always above zero: leave it out"):
        model(target="log").fit(rows, np.array([1.0, 2.0, 0.0, 3.0]))
