"""Runs in the environment of Microsoft's toolbox: `python -I inside_responsible_ai.py compute|serve ...`.

compute ORDER FOLDER    insights about the rows of an order, saved into a new folder
serve FOLDER SOCKET     the dashboard over saved insights, on a listening socket that the parent hands down

On stdout it says a JSON object a line: {"part": NAME} as it goes, then what there is. All else it prints goes to stderr.
"""

from __future__ import annotations

import copy
import functools
import json
import operator
import os
import random
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import onnxruntime
import pandas as pd


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
    say(part="loading")
    from raiutils.exceptions import UserConfigValidationException
    from responsibleai import FeatureMetadata, RAIInsights

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
    except UserConfigValidationException as error:
        left_out["counterfactual"] = str(error)
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

    Wanted is the other class, of several the most frequent one, of values the upper quarter: of rows that are not there.
    """
    manager, rows = insights.counterfactual, insights.test
    truth, answers = rows[insights.target_column], insights._predict_output
    if insights._classes is None:
        low, high = np.quantile(truth, [0.75, 1.0]).tolist()
        wanted, elsewhere = {"desired_range": [low, high]}, (answers < low) | (answers > high)
    elif len(insights._classes) == 2:
        wanted, elsewhere = {"desired_class": "opposite"}, np.ones(len(rows), bool)
    else:
        label = truth.value_counts().index[0]
        wanted, elsewhere = {"desired_class": list(insights._classes).index(label)}, answers != label
    able = np.flatnonzero(elsewhere)
    place = able[np.unique(np.linspace(0, len(able) - 1, min(count, len(able))).astype(int))]
    random.seed(0)
    np.random.seed(0)
    manager._test = rows.iloc[place]
    manager.add(total_CFs=10, **wanted)
    manager.compute()
    manager._test = rows
    (config,) = manager._counterfactual_config_list
    config.counterfactual_obj = _spread(config.counterfactual_obj, place.tolist(), rows)
    return sum(one.final_cfs_df is not None for one in config.counterfactual_obj.cf_examples_list)


def _spread(found: Any, place: list[int], rows: Any) -> Any:
    """Return counterfactuals in a list as long as the rows: the dashboard takes them by a row's place."""
    known = dict(zip(place, zip(found.cf_examples_list, found.local_importance)))
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
        same = before.equals(after) if before.dtype != float else np.allclose(before, after, equal_nan=True)
        if before.dtype != after.dtype or not same:
            raise ValueError(f"column {name!r} does not come back from saved insights as it was: give it another name")


def serve(folder: Path, listener: int, say: Any) -> None:
    """Serve the dashboard until SIGTERM or SIGINT; says when it answers."""
    say(part="loading")
    import flask
    import raiwidgets.dashboard
    from gevent import signal_handler
    from gevent import socket as sockets
    from gevent.pywsgi import WSGIServer
    from raiutils.data_processing import serialize_json_safe
    from raiwidgets import ResponsibleAIDashboard
    from responsibleai import RAIInsights

    class Service:
        """The toolbox's own server takes any origin and looks for a port by itself: here it has none."""

        def __init__(self, **_: Any) -> None:
            self.app = flask.Flask("responsible-ai")
            self.env = types.SimpleNamespace(base_url="/.")
            self.with_credentials = False

    class Dashboard(ResponsibleAIDashboard):
        """The page made once, with data that cannot end its script: the toolbox puts texts into it as they are."""

        @functools.cached_property
        def page(self) -> Any:
            return super().load_index()

        def load_index(self) -> Any:
            return self.page

        def load_widget_file(self, path: str) -> str:
            content = Path(self.get_widget_path(path)).read_text(encoding="utf-8")
            for name, value in (("config", self.config), ("model_data", self.model_data)):
                if f'"__rai_{name}__"' in content:
                    text = json.dumps(value, default=serialize_json_safe).replace("<", "\\u003c")
                    text = text.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")
                    content = content.replace(f'"__rai_{name}__"', f"`{text}`")
            return content.replace("__rai_app_id__", f"rai_widget_{self.id}")

    raiwidgets.dashboard.FlaskHelper = Service
    dashboard = Dashboard(RAIInsights.load(folder))
    server = WSGIServer(sockets.socket(fileno=listener), None, log=None)
    server.application = door(dashboard._service.app, server.server_port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal_handler(number, server.stop)
    say(ready=True)
    server.serve_forever()


def door(app: Any, port: int) -> Any:
    """Return the application behind a check: other names that point here and other sites' pages are refused."""
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    def checked(environ: dict[str, Any], start: Any) -> Any:
        host = environ.get("HTTP_HOST", "")
        if host not in hosts or environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
            start("403 Forbidden", [("content-type", "text/plain")])
            return [b"the dashboard answers its own page only"]
        return app(environ, start)

    return checked


def main(what: str, first: str, second: str) -> None:
    """Do what is asked; stdout stays ours, also against libraries that print past Python."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**facts: Any) -> None:
        print(json.dumps(facts), file=told, flush=True)

    if what == "compute":
        compute(Path(first), Path(second), say)
    else:
        serve(Path(first), int(second), say)


if __name__ == "__main__":
    main(*sys.argv[1:])
