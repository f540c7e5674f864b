from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from tests.training.pictures import COLUMNS, asked, pictured

from everloop.errors import UsageError
from everloop.training.fronts import Fronts, Part, fit_fronts


def graph_of(fronts: Fronts) -> bytes:
    graph, names = fronts.graph(COLUMNS)
    for part in fronts.parts:
        graph.node.append(helper.make_node("Identity", [names[part.name]], [f"out_{part.name}"]))
        shape = [None, *part.shape]
        graph.output.append(helper.make_tensor_value_info(f"out_{part.name}", TensorProto.FLOAT, shape))
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_the_graph_and_numpy_give_the_same_arrays_also_of_what_was_never_seen() -> None:
    rows, _ = pictured()
    fronts = fit_fronts(rows)
    later, _ = pictured(30, seed=1)
    later = later.assign(city=["Rome", "Bonn", ""] * 10)
    later.loc[0, "a"] = np.nan
    found = asked(graph_of(fronts), later)
    for name, array in fronts.arrays(later).items():
        assert array.dtype == np.float32
        assert found[f"out_{name}"] == pytest.approx(array, abs=1e-6), name


def test_pixels_are_from_0_to_1_channels_first() -> None:
    rows, _ = pictured(3)
    arrays = fit_fronts(rows).arrays(rows)
    assert arrays["photo"].shape == (3, 3, 6, 5)
    assert arrays["clip"].shape == (3, 2, 1, 4, 3)
    assert arrays["photo"][1, 2] == pytest.approx(rows["photo"][1][:, :, 2] / 255)


def test_numbers_are_scaled_and_words_are_places() -> None:
    rows = pd.DataFrame({"a": [1.0, np.nan, 3.0], "same": [7, 7, 7], "none": [np.nan] * 3, "city": ["b", "a", "b"]})
    fronts = fit_fronts(rows)
    arrays = fronts.arrays(rows)
    assert arrays["a"].tolist() == [[-1], [0], [1]]
    assert arrays["same"].tolist() == arrays["none"].tolist() == [[0], [0], [0]]
    assert arrays["city"].tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    assert fronts.parts[3] == Part("city", (3,), words=("a", "b"))


def test_free_text_is_refused() -> None:
    rows = pd.DataFrame({"words": [f"text {place}" for place in range(1001)]})
    with pytest.raises(UsageError, match="column 'words' holds 1001 different texts: count words before it"):
        fit_fronts(rows)
