"""Runs in the environment of Microsoft's toolbox: `python -I inside_responsible_ai.py ORDER FOLDER` saves insights.

On stdout it says a JSON object a line: {"part": NAME} as it goes, then which rows are covered and what is left out.
"""

from __future__ import annotations

import copy
import json
import operator
import os
import random
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import onnxruntime
import pandas as pd
from responsibleai import FeatureMetadata, RAIInsights


class ByValue:
    """A class that a pickle holds whole, so that saved insights need no file of ours to be loaded."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        return cloudpickle.loads, (cloudpickle.dumps(self.kind),)


class Regressor:
    """A version's own graph, as scikit-learn would have it: asked with tables of the columns that the model takes."""

    def __init__(self, graph: bytes, columns: list[list[str]], classes: list[Any]) -> None:
        self.graph, self.columns, self.classes = graph, columns, classes
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __reduce__(self) -> Any:
        return operator.call, (ByValue(type(self)), self.graph, self.columns, self.classes)

    def predict(self, table: Any) -> Any:
        return self.asked("prediction", table).reshape(-1)

    def asked(self, output: str, table: Any) -> Any:
        feeds = {}
        for name, dtype in self.columns:
            values = table[name].to_numpy()
            if dtype == "bool":
                feeds[name] = np.asarray([str(value).lower() in ("true", "1") for value in values])[:, None]
            else:
                feeds[name] = values.astype(np.float64 if dtype == "float64" else object)[:, None]
        (found,) = self.session.run([output], feeds)
        return found.astype(np.float64)


class Classifier(Regressor):
    """The same with classes: the label is that of the largest probability."""

    def predict(self, table: Any) -> Any:
        return np.asarray(self.classes)[self.predict_proba(table).argmax(axis=1)]

    def predict_proba(self, table: Any) -> Any:
        return self.asked("probability", table)


def compute(order_folder: Path, folder: Path, say: Any) -> None:
    """Save insights; says how many rows each of them covers, and why one is left out."""
    order = json.loads((order_folder / "order.json").read_text())
    target = order["target"]
    train, rows = (_table(order_folder / f"{name}.npz", order) for name in ("train", "rows"))
    kind = Classifier if order["classes"] else Regressor
    model = kind((order_folder / "model.onnx").read_bytes(), order["columns"], order["classes"])
    categories = FeatureMetadata(categorical_features=[name for name, dtype in order["columns"] if dtype != "float64"])
    insights = RAIInsights(model, train, rows, target, order["task"], feature_metadata=categories)
    covered, left_out = {"explainer": len(rows), "error_analysis": len(rows)}, {}
    say(part="explaining")
    insights.explainer.add()
    insights.explainer.compute()
    say(part="errors")
    insights.error_analysis.add()
    insights.error_analysis.compute()
    say(part="what-ifs")
    try:
        covered["counterfactual"] = _counterfactuals(insights, order["counterfactuals"])
    except Exception as error:  # of any kind: gaps are refused, and some models meet DiCE's own mistakes
        left_out["counterfactual"] = str(error) or type(error).__name__
        insights.counterfactual._counterfactual_config_list.clear()
    say(part="saving")
    insights.save(folder)
    _keep_digits(insights, folder)
    _check(RAIInsights.load(folder), insights)
    say(rows=covered, left_out=left_out)


def _table(file: Path, order: dict[str, Any]) -> Any:
    """Return the rows of a file; flags are the categories "false" and "true" to the toolbox, which knows none."""
    with np.load(file, allow_pickle=False) as arrays:
        values = {name: arrays[str(place)] for place, (name, _) in enumerate(order["columns"])}
        values[order["target"]] = arrays["target"]
    return pd.DataFrame(
        {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in values.items()}
    )


def _counterfactuals(insights: Any, count: int) -> int:
    """Compute them for some rows, each costs up to a second; returns for how many there are any.

    Wanted is the other class, of several the most frequent one, of values the upper quarter, of rows not there yet.
    """
    manager, rows = insights.counterfactual, insights.test
    truth, answers = rows[insights.target_column], insights._predict_output
    if insights._classes is None:
        low, high = np.quantile(truth, [0.75, 1.0]).tolist()
        wanted: dict[str, Any] = {"desired_range": [low, high]}
        elsewhere = (answers < low) | (answers > high)
    elif len(insights._classes) == 2:
        wanted, elsewhere = {"desired_class": "opposite"}, np.ones(len(rows), bool)
    else:
        label = truth.value_counts().index[0]
        wanted, elsewhere = {"desired_class": list(insights._classes).index(label)}, answers != label
    able = np.flatnonzero(elsewhere)
    place = able[np.unique(np.linspace(0, len(able) - 1, min(count, len(able))).astype(int))]
    random.seed(0)
    np.random.seed(0)
    try:
        manager._test = rows.iloc[place]
        manager.add(total_CFs=10, **wanted)
        manager.compute()
    finally:
        manager._test = rows
    (config,) = manager._counterfactual_config_list
    config.counterfactual_obj = _spread(config.counterfactual_obj, place.tolist(), rows)
    return sum(one.final_cfs_df is not None for one in config.counterfactual_obj.cf_examples_list)


def _spread(found: Any, place: list[int], rows: Any) -> Any:
    """Return counterfactuals in a list as long as the rows: the dashboard takes them by a row's place."""
    known = dict(zip(place, zip(found.cf_examples_list, found.local_importance, strict=True), strict=True))
    nothing = dict.fromkeys(found.summary_importance, 0)
    examples, importance = [], []
    for row in range(len(rows)):
        if row not in known:
            none = copy.copy(found.cf_examples_list[0])
            none.final_cfs_df = none.final_cfs_df_sparse = None
            none.test_instance_df = rows.iloc[[row]]
            known[row] = none, nothing
        examples.append(known[row][0])
        importance.append(known[row][1])
    return type(found)(examples, local_importance=importance, summary_importance=found.summary_importance)


def _keep_digits(insights: Any, folder: Path) -> None:
    """Write the rows again with all digits, where the toolbox keeps ten decimals."""
    for name, table in (("train", insights.train), ("test", insights.test)):
        plain = table.astype(object).where(table.notna(), None)
        (folder / "data" / f"{name}.json").write_text(json.dumps(plain.to_dict("split")))


def _check(loaded: Any, insights: Any) -> None:
    """Raise ValueError where the toolbox reads a column as something else: one that is named as a time, as dates."""
    for name in insights.test.columns:
        before, after = insights.test[name], loaded.test[name]
        same = before.dtype == after.dtype
        if same and before.dtype == float:
            same = np.allclose(before, after, rtol=1e-12, atol=0, equal_nan=True)
        elif same:
            same = before.equals(after)
        if not same:
            raise ValueError(f"column {name!r} does not come back from saved insights as it was: give it another name")


def main(order_folder: str, folder: str) -> None:
    """Compute; stdout stays ours, also against libraries that print past Python."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    compute(Path(order_folder), Path(folder), lambda **facts: print(json.dumps(facts), file=told, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
