"""What the guards find at 1 % false positives calibrated out of time, and what they cost on the path of a request.

Outliers by name on bike sharing and adult, beside a histogram score, the Mahalanobis distance and an isolation forest;
attacks of the Adversarial Robustness Toolbox on a logistic regression and a network. Run
`python bench/guards.py [outliers|adversarial|cost]` where `../shared/data` holds the two tables; the attacks need
`adversarial-robustness-toolbox`.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from everloop.bundles import Bundle, Manifest
from everloop.data import Schema, conform, infer, timed
from everloop.inference.guards import GUARDED, Guards
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.training import to_onnx
from everloop.training.estimators import with_cast
from everloop.training.guards import CHUNKS, Earlier, Policies, conformal_threshold, make_guards
from everloop.types import Column

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BIKES = ["season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed"]
TESTED, SEED = 3000, 0


def main() -> None:
    """Print the parts that are asked for, or all."""
    parts = {"outliers": outliers, "adversarial": adversarial, "cost": cost}
    for name in sys.argv[1:] or parts:
        if not DATA.is_dir():
            print(f"{name}: left out, there are no tables at {DATA}")
        elif name == "adversarial" and find_spec("art") is None:
            print(f"{name}: left out, pip install adversarial-robustness-toolbox")
        else:
            parts[name]()


def bikes() -> tuple[pd.DataFrame, Schema]:
    """Return bike sharing as the example project has it."""
    frame = pd.read_csv(DATA / "bike-sharing" / "hour.csv")
    when = pd.to_datetime(frame["dteday"], utc=True) + pd.to_timedelta(frame["hr"], unit="h")
    frame = frame[[*BIKES, "cnt"]].assign(time=when)
    schema = infer(frame, target="cnt", time="time")
    return conform(frame, schema), schema


def busy() -> tuple[pd.DataFrame, Schema]:
    """Return bike sharing with two classes of hours."""
    rows, _ = bikes()
    rows = rows.drop(columns="cnt").assign(busy=rows["cnt"] > rows["cnt"].median())
    schema = infer(rows, target="busy", time="time")
    return conform(rows, schema), schema


def adult() -> tuple[pd.DataFrame, Schema]:
    """Return adult in the order of its rows."""
    frame, order = timed(pd.read_csv(DATA / "adult" / "adult.csv"), None)
    schema = infer(frame, target="income-per-year", time=order)
    return conform(frame, schema), schema


def spoiled(rows: pd.DataFrame, seen: pd.DataFrame, schema: Schema) -> dict[str, pd.DataFrame]:
    """Return the named outliers made of usual rows; the range left is that of the rows seen in training."""
    rng = np.random.default_rng(SEED)
    names = [c.name for c in schema.inputs if c.dtype == "float64"]
    values = rows[names].to_numpy(dtype=np.float64)
    low, high = seen[names].min().to_numpy(), seen[names].max().to_numpy()
    every, one = np.arange(len(rows)), rng.integers(len(names), size=len(rows))
    other = (one + 1 + rng.integers(len(names) - 1, size=len(rows))) % len(names)

    def changed(new: Any) -> pd.DataFrame:
        copy = values.copy()
        copy[every, one] = new
        return rows.assign(**dict(zip(names, copy.T, strict=True)))

    swapped = values.copy()
    swapped[every, one], swapped[every, other] = values[every, other], values[every, one]
    return {
        "range": changed((high + (high - low) / 2)[one]),
        "swapped": rows.assign(**dict(zip(names, swapped.T, strict=True))),
        "x100": changed(values[every, one] * 100),
        "shuffled": rows.assign(**{n: rng.permutation(rows[n].to_numpy()) for n in schema.names}),
        "one zero": changed(0.0),
        "all zero": rows.assign(**dict.fromkeys(names, 0.0)),
    }


def outliers() -> None:
    """Print the share of each named outlier that each score finds."""
    for title, (rows, schema), start in (
        ("bike sharing, tested from February on", bikes(), 8000),
        ("bike sharing, tested from October on", bikes(), 14000),
        ("adult", adult(), 15000),
    ):
        tested = rows.iloc[start + 1344 : start + 1344 + TESTED]
        shown = {"usual": tested, **spoiled(tested, rows.iloc[: start + 1344], schema)}
        print(f"\n{title}: {start + 1344} rows of training, {len(tested)} tested; the schema guard has no threshold")
        print(f"{'':22}" + "".join(f"{name:>10}" for name in shown))
        for name, found in finders(rows.iloc[: start + 1344], schema).items():
            print(f"{name:22}" + "".join(f"{found(r).mean():>10.1%}" for r in shown.values()), flush=True)


def finders(rows: pd.DataFrame, schema: Schema) -> dict[str, Callable[[pd.DataFrame], Any]]:
    """Return what tells flagged rows: the product's two guards, then three rivals on the same columns."""
    answers = placeholder(schema.inputs)
    guarded = Guarded(make_guards(rows, schema.inputs, "regression", answers, Policies()), answers, schema.inputs)

    def flagged(guard: str) -> Callable[[pd.DataFrame], Any]:
        return lambda table: guarded.flags(table)[guard]

    found = {"prototypes (chosen)": flagged("outlier"), "schema": flagged("schema")}
    chunks = np.array_split(np.arange(len(rows) // 2, len(rows)), CHUNKS)
    for name, fit in (("histogram", histogram), ("mahalanobis", mahalanobis), ("isolation forest", forest)):
        score = fit(rows, schema)
        newer = np.concatenate([fit(rows.iloc[: c[0]], schema)(rows.iloc[c]) for c in chunks])
        threshold = conformal_threshold(newer)
        found[name] = lambda table, score=score, threshold=threshold: score(table) > threshold
    found["outlier or schema"] = lambda table: found["prototypes (chosen)"](table) | found["schema"](table)
    return found


def numbers_of(old: pd.DataFrame, schema: Schema) -> Callable[[pd.DataFrame], Any]:
    """Return standardised numbers, a category as the logarithm of its share."""
    shares = {c.name: old[c.name].value_counts(normalize=True) for c in schema.inputs if c.dtype == "string"}

    def raw(table: pd.DataFrame) -> Any:
        columns = [
            -np.log(table[n].map(shares[n]).fillna(0) + 1 / len(old)) if n in shares else table[n] for n in schema.names
        ]
        return np.column_stack(columns).astype(np.float64)

    mean, spread = raw(old).mean(axis=0), raw(old).std(axis=0)
    return lambda table: (raw(table) - mean) / np.where(spread > 0, spread, 1.0)


def histogram(old: pd.DataFrame, schema: Schema) -> Callable[[pd.DataFrame], Any]:
    """Return the histogram score (HBOS) of 32 bins a column."""
    z, bins = numbers_of(old, schema), 32
    low, high = z(old).min(axis=0), z(old).max(axis=0)
    width = np.where(high > low, (high - low) / bins, 1.0)

    def places(table: pd.DataFrame, values: Any = None) -> Any:
        return np.clip(np.floor(((z(table) if values is None else values) - low) / width) + 1, 0, bins + 1).astype(int)

    seen = places(old, np.minimum(z(old), high - 1e-9 * (high - low)))
    counts = np.stack([np.bincount(column, minlength=bins + 2) for column in seen.T])
    surprise = -np.log((counts + 0.1) / len(old))
    return lambda table: surprise[np.arange(len(low)), places(table)].sum(axis=1)


def mahalanobis(old: pd.DataFrame, schema: Schema) -> Callable[[pd.DataFrame], Any]:
    """Return the squared Mahalanobis distance, the covariance shrunk by a hundredth."""
    z = numbers_of(old, schema)
    precision = np.linalg.inv(np.cov(z(old).T) + 0.01 * np.eye(len(schema.names)))
    return lambda table: np.einsum("ij,jk,ik->i", z(table), precision, z(table))


def forest(old: pd.DataFrame, schema: Schema) -> Callable[[pd.DataFrame], Any]:
    """Return the score of an isolation forest of 100 trees."""
    from sklearn.ensemble import IsolationForest

    z = numbers_of(old, schema)
    fitted = IsolationForest(n_estimators=100, random_state=SEED).fit(z(old))
    return lambda table: -fitted.score_samples(z(table))


def adversarial() -> None:
    """Print how many of the rows whose class an attack changed each guard finds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    for title, (rows, schema) in (("adult", adult()), ("bike sharing, busy or not", busy())):
        for estimator in (
            LogisticRegression(max_iter=2000),
            MLPClassifier((32, 16), max_iter=30, random_state=SEED),
        ):
            attack_one(title, estimator, rows, schema, 12000, 13344)


def attack_one(title: str, estimator: Any, rows: pd.DataFrame, schema: Schema, start: int, end: int) -> None:
    """Print the table of one estimator; only columns of numbers are moved, and a row counts when its class changes."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [c.name for c in schema.inputs if c.dtype == "float64"]
    words = [c.name for c in schema.inputs if c.dtype == "string"]
    from sklearn.base import clone

    def graph_of(until: int) -> tuple[Any, bytes]:
        columns = make_column_transformer(
            (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words)
        )
        pipeline = with_cast(make_pipeline(columns, clone(estimator)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a network that has not converged is a network
            pipeline.fit(rows[schema.names].iloc[:until], rows[schema.target.name].iloc[:until])
        return pipeline, to_onnx(pipeline, schema.inputs, schema.task)

    pipeline, graph = graph_of(end)
    earlier = Earlier(graph_of(start)[1], tuple(range(start, end)))
    files = make_guards(rows.iloc[:end], schema.inputs, schema.task, graph, Policies(), earlier)
    guarded = Guarded(files, graph, schema.inputs)

    def answers(table: pd.DataFrame) -> Any:
        return guarded.answer(table)["probability"]

    usual = rows.iloc[end : end + TESTED]
    tested = usual.iloc[:500]
    truth = np.array([schema.classes.index(v) for v in tested[schema.target.name]])
    tested = tested[answers(tested).argmax(axis=1) == truth]
    before, last = answers(tested).argmax(axis=1), pipeline.steps[-1][1]
    columns, scaler = pipeline.steps[0][1], pipeline.steps[0][1].named_transformers_["standardscaler"]
    x = columns.transform(tested[schema.names]).astype(np.float32)
    print(f"\n{title}, {type(last).__name__}: {len(tested)} rows that it answers right; steps in standard deviations")
    print(f"{'':26}{'changed':>9}{'outlier':>9}{'squeeze':>9}{'schema':>9}{'any':>9}")
    flags = guarded.flags(usual)
    print(f"{'usual rows':26}{len(usual):>9}" + _row(flags))
    for name, attack in attacks(last, len(numbers), x.shape[1]).items():
        moved = attack.generate(x)[:, : len(numbers)].astype(np.float64)
        table = tested.assign(**dict(zip(numbers, scaler.inverse_transform(moved).T, strict=True)))
        table = table[answers(table).argmax(axis=1) != before]
        print(f"{name:26}{len(table):>9}" + (_row(guarded.flags(table)) if len(table) else ""), flush=True)


def _row(flags: dict[str, Any]) -> str:
    some = flags["outlier"] | flags["adversarial"] | flags["schema"]
    shown = (flags["outlier"], flags["adversarial"], flags["schema"], some)
    return "".join(f"{found.mean():>9.1%}" for found in shown)


def attacks(model: Any, free: int, width: int) -> dict[str, Any]:
    """Return the toolbox's attacks on an estimator, given its gradients; the first `free` of `width` columns move."""
    from art.attacks.evasion import DeepFool, FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
    from art.estimators.estimator import BaseEstimator, LossGradientsMixin

    layers = list(zip(model.coefs_, model.intercepts_, strict=True)) if hasattr(model, "coefs_") else []
    layers = layers or [(model.coef_.T, model.intercept_)]
    weights, bias = layers[-1]  # one score for two classes: the other's is nought
    layers[-1] = (np.hstack([0 * weights, weights]), np.array([0.0, bias[0]]))
    mask = np.arange(width) < free

    class Gradients(ClassGradientsMixin, ClassifierMixin, LossGradientsMixin, BaseEstimator):  # type: ignore[misc]
        """A stack of dense layers with ReLU between them, as the toolbox asks for one."""

        nb_classes, input_shape = 2, (width,)

        def fit(self, *_: Any, **__: Any) -> None:
            raise NotImplementedError

        def values(self, x: Any) -> list[Any]:
            found = [x]
            for count, (weight, offset) in enumerate(layers, 1):
                x = x @ weight + offset
                found.append(np.maximum(x, 0) if count < len(layers) else x)
                x = found[-1]
            return found

        def predict(self, x: Any, **_: Any) -> Any:
            return self.values(x)[-1]

        def back(self, values: list[Any], gradient: Any) -> Any:
            for count in range(len(layers), 0, -1):
                if count < len(layers):
                    gradient = gradient * (values[count] > 0)
                gradient = gradient @ layers[count - 1][0].T
            return (gradient * mask).astype(np.float32)

        def loss_gradient(self, x: Any, y: Any, **_: Any) -> Any:
            values = self.values(x)
            scores = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
            return self.back(values, scores / scores.sum(axis=1, keepdims=True) - y)

        def class_gradient(self, x: Any, label: Any = None, **_: Any) -> Any:
            values = self.values(x)
            wanted = range(2) if label is None else [label]
            rows = [np.broadcast_to(np.asarray(c), len(x)) for c in wanted]
            return np.stack([self.back(values, np.eye(2)[c]) for c in rows], axis=1)

    net = Gradients(
        model=None, clip_values=None, preprocessing=None, preprocessing_defences=None, postprocessing_defences=None
    )
    found: dict[str, Any] = {}
    for size in (0.1, 0.2, 0.5, 1.0):
        found[f"FGSM, {size}"] = FastGradientMethod(net, eps=size)
        found[f"PGD, {size}"] = ProjectedGradientDescent(net, eps=size, eps_step=size / 5, max_iter=20, verbose=False)
    return {**found, "DeepFool": DeepFool(net, max_iter=50, epsilon=0.02, nb_grads=2, verbose=False)}


def cost() -> None:
    """Print CPU microseconds of one row, the least of 40 rounds: the model, the model with its guards, a forest."""
    from lightgbm import LGBMRegressor
    from skl2onnx import to_onnx as forest_to_onnx
    from sklearn.ensemble import IsolationForest
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(SEED)
    made = pd.DataFrame(rng.normal(size=(3000, 12)), columns=[f"x{n}" for n in range(12)]).assign(
        y=rng.normal(size=3000)
    )
    twelve = tuple(Column(name, "float64") for name in list(made)[:12])
    rides, schema = bikes()
    runs: dict[str, Callable[[], Any]] = {}
    for title, table, inputs, target, estimator in (
        ("12 numbers, LightGBM", made, twelve, made["y"], LGBMRegressor(n_jobs=1, verbose=-1)),
        ("bike sharing, LightGBM", rides, schema.inputs, rides["cnt"], LGBMRegressor(n_jobs=1, verbose=-1)),
        ("12 numbers, logistic", made, twelve, made["y"] > 0, make_pipeline(StandardScaler(), LogisticRegression())),
    ):
        task: Any = "regression" if isinstance(estimator, LGBMRegressor) else "classification"
        graph = to_onnx(with_cast(estimator).fit(table[[c.name for c in inputs]], target), inputs, task)
        earlier = Earlier(graph, tuple(range(1500, 3000))) if task == "classification" else None
        policies = {
            "no guard": Policies("off", "off", "off"),
            "schema": Policies("flag", "off", "off"),
            "outlier": Policies("off", "flag", "off"),
            "schema, outlier": Policies("flag", "flag", "off"),
        }
        if earlier is not None:
            policies |= {"adversarial": Policies("off", "off", "flag"), "all three": Policies()}
        for name, policy in policies.items():
            guarded = Guarded(make_guards(table, inputs, task, graph, policy, earlier), graph, inputs)
            one = {n: v[:1] for n, v in guarded.arrays(table.iloc[:1]).items()}
            assert guarded.run(one)[1] == {}, "the measured row is a usual one"
            runs[f"{title}: {name}"] = lambda guarded=guarded, one=one: guarded.run(one)
    scaled = made.iloc[:, :12].to_numpy(dtype=np.float32)
    trees = forest_to_onnx(
        IsolationForest(n_estimators=100, random_state=SEED).fit(scaled),
        scaled[:1],
        target_opset={"": 19, "ai.onnx.ml": 3},
    )
    runtime = OnnxRuntime(trees.SerializeToString())
    runs["12 numbers: isolation forest, 100 trees"] = lambda: runtime.predict({"X": scaled[:1]})
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(40):
        for name, run in runs.items():
            times = 10 if "forest" in name else 300
            before = time.process_time()
            for _ in range(times):
                run()
            best[name] = min(best[name], (time.process_time() - before) / times)
    print("\nCPU microseconds a row, the model's own included")
    for name, seconds in best.items():
        print(f"{name:42}{seconds * 1e6:>10.1f}")


class Guarded:
    """A model with its guards, as a server holds them."""

    def __init__(self, files: dict[str, bytes], graph: bytes, inputs: Any) -> None:
        manifest = Manifest(
            name="bench", task="regression", inputs=tuple(inputs), outputs=(), run="r", data_version="d", created=0.0
        )
        self._inputs, self._guards = inputs, Guards.load(Bundle(Path("bundle"), manifest, "key", files))
        self._runtime = OnnxRuntime(files.get(GUARDED, graph))

    def run(self, arrays: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the answer to a request's columns, and the flags."""
        arrays, flags = self._guards.check(arrays)
        found = self._runtime.predict({name: values[:, None] for name, values in arrays.items()})
        return found, {**flags, **self._guards.take(found)}

    def arrays(self, table: pd.DataFrame) -> dict[str, Any]:
        """Return the columns as a request has them."""
        return {c.name: table[c.name].to_numpy(dtype=object if c.dtype == "string" else c.dtype) for c in self._inputs}

    def answer(self, table: pd.DataFrame) -> dict[str, Any]:
        """Return the model's outputs."""
        return self.run(self.arrays(table))[0]

    def flags(self, table: pd.DataFrame) -> dict[str, Any]:
        """Return, by guard, which rows are flagged."""
        flags, places = self.run(self.arrays(table))[1], np.arange(len(table))
        outside = [row for rows in flags.get("schema", {}).values() for row in rows]
        graphs = {n: np.isin(places, flags.get(n, {}).get("rows", [])) for n in ("outlier", "adversarial")}
        return {"schema": np.isin(places, outside), **graphs}


def placeholder(inputs: Any) -> bytes:
    """Return the graph of a model that answers nought, where only the guards matter."""
    from onnx import TensorProto, helper

    kinds = {"float64": TensorProto.DOUBLE, "bool": TensorProto.BOOL, "string": TensorProto.STRING}
    nodes = [
        helper.make_node("Shape", [inputs[0].name], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["prediction"]),
    ]
    ends = [helper.make_tensor_value_info(c.name, kinds[c.dtype], [None, 1]) for c in inputs]
    answer = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph(nodes, "nought", ends, [answer]), opset_imports=opsets, ir_version=9)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
