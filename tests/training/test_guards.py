"""Guards from rows: what their graphs compute, at which rate they flag, and that the model's answers stay."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.training.tables import exported, made, real, run

from everloop.bundles import Bundle, Manifest
from everloop.data import Schema, conform, infer, timed
from everloop.inference.guards import Described, Guards, score_of
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.training.guard_graphs import Distance, distance_graph, fuse, squeeze_graph
from everloop.training.guards import Earlier, Policies, conformal_threshold, differentiable, fit_outlier, make_guards
from everloop.types import Column

NUMBERS = (Column("a", "float64"), Column("b", "float64"))


def piped(model: Any) -> Any:
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]),
        remainder="passthrough",
    )
    return make_pipeline(columns, model)


def described(files: dict[str, bytes]) -> Described:
    return msgspec.json.decode(files["guards.json"], type=Described)


def scores_of(graph: bytes, **feeds: Any) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = OnnxRuntime(graph).predict(feeds)["score"]
    assert scores.shape[1:] == (1,)
    return scores[:, 0]


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 1000))
def test_the_distance_is_that_to_the_nearest_prototype(width: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prototypes, mean, scale = rng.normal(size=(count, width)), rng.normal(size=width), rng.uniform(0.5, 3, width)
    rows = rng.normal(size=(7, width)) * 3
    graph = distance_graph(Distance(width, mean, scale, prototypes))
    z = (rows - mean) / scale
    expected = ((z[:, None, :] - prototypes[None]) ** 2).sum(axis=2).min(axis=1)
    assert scores_of(graph, numbers=rows) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_words_count_by_column_and_an_unseen_one_is_the_rarest() -> None:
    graph = distance_graph(
        Distance(
            0, np.zeros(2), np.ones(2), np.zeros((1, 2)), words=3, places=(0, 2),
            rarity=({"x": 1.0, "y": 2.0}, {"x": 3.0}), unseen=10.0,
        )
    )  # fmt: skip
    rows = np.array([["x", "?", "x"], ["y", "x", "x"], ["y", "x", "z"], ["", "x", "y"]], dtype=object)
    assert scores_of(graph, words=rows).tolist() == [1 + 9, 4 + 9, 4 + 100, 100 + 100]


def test_a_gap_is_filled_only_where_training_saw_one() -> None:
    filled = Distance(1, np.zeros(1), np.ones(1), np.zeros((1, 1)), fill=np.array([2.0]))
    plain = msgspec.structs.replace(filled, fill=None)
    assert scores_of(distance_graph(filled), numbers=np.array([[np.nan]])).tolist() == [4.0]
    assert np.isnan(scores_of(distance_graph(plain), numbers=np.array([[np.nan]]))).all()


@pytest.mark.parametrize("levels", [2, 8])
def test_squeezing_measures_how_far_the_answer_moves(levels: int) -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"a": rng.uniform(0, 1, 200), "b": rng.uniform(-5, 5, 200)}).assign(time=np.arange(200.0))
    rows["y"] = 3 * rows["a"] - rows["b"] + rng.normal(0, 0.01, 200)
    schema = infer(rows, target="y", time="time")
    table = conform(rows, schema)
    graph, answers = exported(LinearRegression(), table, schema)
    ranges = {"a": (0.0, 1.0), "b": (-5.0, 5.0)}
    squeezed = squeeze_graph(graph, schema.inputs, ranges, "regression", levels)
    steps = levels - 1
    a, b = np.round(table["a"] * steps) / steps, np.round((table["b"] + 5) / 10 * steps) / steps * 10 - 5
    expected = np.abs(answers - run(graph, table.assign(a=a, b=b), schema)["prediction"][:, 0])
    found = scores_of(squeezed, numbers=table[["a", "b"]].to_numpy(), answer=answers[:, None])
    assert expected.max() > 0.1
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("n", "rank"), [(98, None), (99, 99), (100, 100), (199, 198), (999, 990)])
def test_the_threshold_has_the_finite_sample_correction(n: int, rank: int | None) -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1, n + 1)).astype(float)
    assert conformal_threshold(scores, 0.01) == rank


def test_the_threshold_is_no_infinity() -> None:
    assert conformal_threshold(np.full(500, np.inf)) is None
    assert conformal_threshold(np.empty(0)) is None


@settings(max_examples=50)
@given(st.integers(1, 400), st.sampled_from([0.01, 0.05, 0.1]))
def test_a_new_score_exceeds_the_threshold_at_most_at_the_rate(n: int, rate: float) -> None:
    """Of n + 1 exchangeable scores each is as likely the new one: count those above the threshold of the others."""
    scores = np.random.default_rng(n).normal(size=n + 1)
    above = 0
    for new in range(n + 1):
        threshold = conformal_threshold(np.delete(scores, new), rate)
        above += threshold is not None and scores[new] > threshold
    assert above <= math.floor(rate * (n + 1) + 1e-9)


CASES: list[tuple[Any, tuple[Any, ...]]] = [
    (LinearRegression(), ()),
    (MLPRegressor(hidden_layer_sizes=(8,), max_iter=500, random_state=0), ()),
    (LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1), ()),
    (LogisticRegression(), ("no", "yes")),
    (MLPClassifier((8,), max_iter=1000, random_state=0), ("a", "b", "c")),
    (LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1), (0, 1)),
]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(("model", "classes"), CASES, ids=lambda v: type(v).__name__)
def test_the_guarded_graph_answers_as_the_model_and_scores_as_the_guards(model: Any, classes: tuple[Any, ...]) -> None:
    rows, schema = made(classes, 600)
    graph, _ = exported(piped(model), rows, schema)
    earlier = Earlier(graph, tuple(range(400, 600))) if differentiable(piped(model)) else None
    files = make_guards(rows, schema.inputs, schema.task, graph, Policies(), earlier)
    names = ["outlier", "adversarial"] if earlier else ["outlier"]
    assert sorted(files) == sorted(["guards.json", "guarded.onnx", *(f"guards/{n}.onnx" for n in names)])
    alone, together = run(graph, rows, schema), run(files["guarded.onnx"], rows, schema)
    for output, values in alone.items():
        np.testing.assert_array_equal(together.pop(output), values)
    assert list(together) == [score_of(n) for n in names]
    feeds: dict[str, Any] = {
        "numbers": rows[["a", "b", "flag"]].to_numpy(dtype=np.float64),
        "words": rows[["city"]].to_numpy(dtype=object),
        "answer": alone["probability" if classes else "prediction"].astype(np.float64),
    }
    for name in names:
        runtime = OnnxRuntime(files[f"guards/{name}.onnx"])
        scores = runtime.predict({n: feeds[n] for n in runtime.inputs})["score"]
        assert together[score_of(name)] == pytest.approx(scores, rel=1e-9)
        guard = next(g for g in described(files).graphs if g.name == name)
        assert (guard.policy, guard.rate) == ("flag", 0.01)
        assert guard.rows == {"outlier": 300, "adversarial": 200}[name]


def test_the_schema_guard_holds_what_training_saw() -> None:
    rows, schema = made(rows=200)
    files = make_guards(rows, schema.inputs, schema.task, b"", Policies(schema="clip", outlier="off"))
    assert list(files) == ["guards.json"]
    guard = described(files).schema
    assert guard is not None
    assert guard.policy == "clip"
    assert guard.ranges == {n: (rows[n].min(), rows[n].max()) for n in ("a", "b")}
    assert guard.gapless == ("a",)


def test_guards_that_are_off_leave_no_file() -> None:
    rows, schema = made(rows=300)
    graph, _ = exported(piped(LinearRegression()), rows, schema)
    off = Policies("off", "off", "off")
    assert make_guards(rows, schema.inputs, schema.task, graph, off, Earlier(graph, tuple(range(200, 300)))) == {}


def test_too_few_out_of_time_rows_leave_no_graph() -> None:
    rows, schema = made(rows=196)
    graph, _ = exported(piped(LinearRegression()), rows, schema)
    files = make_guards(rows, schema.inputs, schema.task, graph, Policies(), Earlier(graph, tuple(range(98, 196))))
    assert list(files) == ["guards.json"], "98 out-of-time rows of either kind: one short"


def test_the_same_rows_make_the_same_guards() -> None:
    rows, schema = made(rows=400)
    graph, _ = exported(piped(LinearRegression()), rows, schema)
    first, second = (make_guards(rows, schema.inputs, schema.task, graph, Policies()) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LogisticRegression(), True),
        (MLPClassifier(), True),
        (piped(LinearRegression()), True),
        (LGBMRegressor(), False),
        (piped(LGBMClassifier()), False),
    ],
)
def test_linear_models_and_networks_have_gradients(model: Any, expected: bool) -> None:
    assert differentiable(model) is expected


def test_columns_of_integers_flags_or_words_alone_are_guarded() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"n": rng.integers(0, 5, 300), "f": rng.uniform(size=300) < 0.5, "w": rng.choice(["x", "y"], 300)}
    ).assign(w=lambda t: t["w"].astype(object))
    words = Column("w", "string", "categorical", categories=("x", "y"))
    for column in (Column("n", "int64"), Column("f", "bool"), words):
        assert OnnxRuntime(fit_outlier(rows, [column])).inputs == ("words" if column.dtype == "string" else "numbers",)


def test_a_constant_column_and_repeated_rows_are_no_trouble() -> None:
    rows = pd.DataFrame({"a": [1.0] * 300, "b": [3.0, 4.0] * 150})
    graph = fit_outlier(rows, NUMBERS)
    assert scores_of(graph, numbers=rows.to_numpy()).max() < 1e-9
    assert scores_of(graph, numbers=np.array([[2.0, 3.0]]))[0] == pytest.approx(1.0)


def checked(files: dict[str, bytes], schema: Schema, table: pd.DataFrame) -> dict[str, Any]:
    manifest = Manifest(
        name="m", task=schema.task, inputs=schema.inputs, outputs=(), run="r", data_version="d", created=0.0
    )
    found = {name: values.reshape(len(table), -1) for name, values in run(files["guarded.onnx"], table, schema).items()}
    return Guards.load(Bundle(Path("bundle"), manifest, "key", files)).take(found)


def share(files: dict[str, bytes], schema: Schema, table: pd.DataFrame, guard: str = "outlier") -> float:
    return len(checked(files, schema, table).get(guard, {"rows": []})["rows"]) / len(table)


def test_outliers_on_adult_are_found_at_one_percent_false_positives() -> None:
    frame, order = timed(pd.read_csv(real("adult/adult.csv")).iloc[:14000], None)
    schema = infer(frame, target="income-per-year", time=order)
    rows = conform(frame, schema)
    known, newer = rows.iloc[:12000], rows.iloc[12000:]
    graph, _ = exported(words_and_numbers(schema), known, schema)
    files = make_guards(known, schema.inputs, schema.task, graph, Policies(adversarial="off"))
    assert share(files, schema, newer) < 0.02
    names = [c.name for c in schema.inputs if c.dtype == "float64"]
    beyond = newer.assign(age=1.5 * rows["age"].max(), **{"hours-per-week": 200.0})
    assert share(files, schema, beyond) > 0.9
    assert share(files, schema, newer.assign(**dict.fromkeys(names, 0.0))) > 0.5
    swapped = newer.assign(age=newer["education-num"], **{"education-num": newer["age"]})
    assert share(files, schema, swapped) > 0.5


def test_a_large_step_along_the_gradient_is_found_on_adult() -> None:
    """One step of half a standard deviation in every number, against the class: the fast gradient sign method."""
    frame, order = timed(pd.read_csv(real("adult/adult.csv")).iloc[:9000], None)
    schema = infer(frame, target="income-per-year", time=order)
    rows = conform(frame, schema)
    known, newer = rows.iloc[:8000], rows.iloc[8000:]
    graph, _ = exported(words_and_numbers(schema), known, schema)
    before, _ = exported(words_and_numbers(schema), known.iloc[:6500], schema)
    earlier = Earlier(before, tuple(range(6500, 8000)))
    files = make_guards(known, schema.inputs, schema.task, graph, Policies(outlier="off"), earlier)
    assert share(files, schema, newer, "adversarial") < 0.03
    names = [c.name for c in schema.inputs if c.dtype == "float64"]
    fitted = words_and_numbers(schema).fit(known[schema.names], known[schema.target.name])
    towards = np.sign(fitted.steps[-1][1].coef_[0][: len(names)]) * known[names].std().to_numpy() / 2
    class_before = run(graph, newer, schema)["probability"].argmax(axis=1)
    sign = np.where(class_before == 0, 1, -1)[:, None]
    moved = newer.assign(**dict(zip(names, (newer[names].to_numpy() + sign * towards).T, strict=True)))
    changed = moved[run(graph, moved, schema)["probability"].argmax(axis=1) != class_before]
    assert len(changed) > 100
    assert share(files, schema, changed, "adversarial") > 0.25


def words_and_numbers(schema: Schema) -> Any:
    numbers = [c.name for c in schema.inputs if c.dtype == "float64"]
    words = [c.name for c in schema.inputs if c.dtype == "string"]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(
        make_column_transformer((StandardScaler(), numbers), (encoder, words)), LogisticRegression(max_iter=2000)
    )


def test_fusing_no_guard_changes_no_answer() -> None:
    rows, schema = made(rows=100)
    graph, _ = exported(piped(LinearRegression()), rows, schema)
    found = run(fuse(graph, {}, schema.inputs, schema.task), rows, schema)
    np.testing.assert_array_equal(found["prediction"], run(graph, rows, schema)["prediction"])
