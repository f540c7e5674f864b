from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, QuantileTransformer, StandardScaler
from tests.training.tables import exported, made, real, run
from xgboost import XGBRegressor

from everloop.data import Schema, conform, infer
from everloop.errors import ParityError, UsageError
from everloop.training import to_onnx
from everloop.training.estimators import with_cast
from everloop.training.xgboost_classes import XGBClassifier
from everloop.types import Column

REGRESSORS = [
    HistGradientBoostingRegressor(max_iter=20, random_state=0),
    RandomForestRegressor(10, random_state=0),
    LinearRegression(),
    GradientBoostingRegressor(n_estimators=20, random_state=0),
    LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1),
    XGBRegressor(n_estimators=20, n_jobs=1),
]
CLASSIFIERS = [
    HistGradientBoostingClassifier(max_iter=20, random_state=0),
    RandomForestClassifier(10, random_state=0),
    LogisticRegression(max_iter=1000),
    GradientBoostingClassifier(n_estimators=20, random_state=0),
    LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1),
    XGBClassifier(n_estimators=20, n_jobs=1),
]
ENCODERS = [
    OneHotEncoder(handle_unknown="ignore"),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
]
CLASSES = [(0, 1), (1, 2, 5), (False, True), ("no", "yes"), ("a", "b", "c")]


def piped(model: Any, encoder: Any) -> Any:
    """Return a pipeline that encodes the city, fills and scales the numbers and passes the flag on."""
    columns = make_column_transformer(
        (encoder, ["city"]), (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]), remainder="passthrough"
    )
    return make_pipeline(columns, clone(model))


def name_of(value: Any) -> str:
    return type(value).__name__ if isinstance(value, BaseEstimator) else str(value)


@pytest.mark.parametrize("encoder", ENCODERS, ids=name_of)
@pytest.mark.parametrize("model", REGRESSORS, ids=name_of)
def test_regression(model: Any, encoder: Any) -> None:
    rows, schema = made()
    graph, answers = exported(piped(model, encoder), rows, schema)
    found = run(graph, rows, schema)
    assert list(found) == ["prediction"]
    assert found["prediction"].shape == (len(rows), 1)
    assert found["prediction"][:, 0] == pytest.approx(answers, abs=1e-3)


@pytest.mark.parametrize("classes", CLASSES, ids=name_of)
@pytest.mark.parametrize("model", CLASSIFIERS, ids=name_of)
def test_classification(model: Any, classes: tuple[Any, ...]) -> None:
    rows, schema = made(classes)
    graph, answers = exported(piped(model, ENCODERS[0]), rows, schema)
    found = run(graph, rows, schema)
    assert list(found) == ["label", "probability"]
    assert found["probability"].shape == (len(rows), len(classes))
    clear = np.abs(np.diff(np.sort(answers, axis=1)[:, -2:], axis=1)[:, 0]) > 1e-4
    assert found["label"][clear].tolist() == [classes[i] for i in answers.argmax(1)[clear]]


def test_a_category_that_training_never_saw_is_answered() -> None:
    rows, schema = made()
    for encoder in ENCODERS:
        fitted = with_cast(piped(REGRESSORS[2], encoder)).fit(rows[schema.names], rows["y"])
        new = rows.assign(city="Zürich")
        found = run(to_onnx(fitted, schema.inputs, "regression"), new, schema)["prediction"][:, 0]
        assert found == pytest.approx(fitted.predict(new[schema.names]), abs=1e-4)


def test_equal_estimators_give_equal_bytes_and_the_estimator_stays_as_it_was() -> None:
    rows, schema = made()
    for model in (REGRESSORS[0], REGRESSORS[4]):
        fitted = with_cast(piped(model, ENCODERS[0])).fit(rows[schema.names], rows["y"])
        before = fitted.predict(rows[schema.names])
        first = to_onnx(fitted, schema.inputs, "regression")
        assert to_onnx(fitted, schema.inputs, "regression") == first
        assert (fitted.predict(rows[schema.names]) == before).all()


def test_the_inputs_are_the_columns_by_name_type_and_order() -> None:
    rows, schema = made()
    model = onnx.load_model_from_string(exported(piped(REGRESSORS[2], ENCODERS[0]), rows, schema)[0])
    onnx.checker.check_model(model)
    kinds = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    proto = onnx.TensorProto
    assert list(kinds.items()) == [
        ("a", proto.DOUBLE),
        ("b", proto.DOUBLE),
        ("flag", proto.BOOL),
        ("city", proto.STRING),
    ]


def test_odd_column_names_are_kept() -> None:
    rows, _ = made()
    names = {"a": "variable", "b": "b - c", "flag": "Größe %"}
    rows = rows.rename(columns=names).astype({"Größe %": float})[["time", *names.values(), "y"]]
    schema = infer(rows, target="y", time="time")
    model = make_pipeline(SimpleImputer(), LinearRegression())
    for estimator in (model, HistGradientBoostingRegressor(max_iter=5)):
        graph, _ = exported(estimator, rows, schema)
        assert [i.name for i in onnx.load_model_from_string(graph).graph.input] == list(names.values())


def test_native_categories_of_histogram_boosting_are_refused() -> None:
    rows, _ = made()
    encoded = rows.assign(city=rows["city"].astype("category").cat.codes.astype(float))
    inputs = tuple(Column(name, "float64") for name in ("a", "b", "city"))
    names = [c.name for c in inputs]
    for kind in (HistGradientBoostingRegressor, HistGradientBoostingClassifier):
        model = kind(max_iter=5, categorical_features=[2]).fit(encoded[names], rows["flag"])
        with pytest.raises(
            ParityError, match=f"^{kind.__name__} with native categories converts to ONNX silently wrong"
        ):
            to_onnx(model, inputs, "regression")


class Median(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A model of the project's own, which no converter knows."""

    def fit(self, _: Any, y: Any) -> Median:
        self.median_ = float(np.median(y))
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.median_)


def test_an_estimator_without_converter_is_one_sentence() -> None:
    rows, schema = made()
    fitted = with_cast(piped(Median(), ENCODERS[0])).fit(rows[schema.names], rows["y"])
    with pytest.raises(UsageError, match=r"^Median cannot be exported to ONNX: .*Median") as caught:
        to_onnx(fitted, schema.inputs, "regression")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"add_indicator": True}, {"missing_values": -1.0}])
def test_an_imputer_that_the_graph_cannot_hold_is_refused(options: dict[str, Any]) -> None:
    rows, schema = made()
    rows, inputs = rows.assign(b=rows["b"].fillna(-1.0)), schema.inputs[:2]
    fitted = make_pipeline(SimpleImputer(**options), LinearRegression()).fit(rows[["a", "b"]], rows["y"])
    with pytest.raises(UsageError, match="LinearRegression cannot be exported to ONNX: SimpleImputer"):
        to_onnx(fitted, inputs, "regression")


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_gaps_are_filled_in_the_graph_as_in_training(strategy: str) -> None:
    rows, schema = made()
    rows, schema = rows[["time", "a", "b", "y"]], infer(rows[["time", "a", "b", "y"]], target="y", time="time")
    assert rows["b"].isna().any()
    exported(make_pipeline(SimpleImputer(strategy=strategy), LinearRegression()), rows, schema)


def test_columns_are_put_together_in_float64() -> None:
    rows, _ = made()
    rows = rows[["time", "a", "b", "y"]].assign(b=rows["b"].fillna(0) + 2**24)
    schema = infer(rows, target="y", time="time")
    graph, answers = exported(make_pipeline(StandardScaler(), LinearRegression()), rows, schema)
    assert run(graph, rows, schema)["prediction"][:, 0] == pytest.approx(answers, abs=1e-5)


# Real data


def bikes() -> tuple[pd.DataFrame, Schema]:
    raw = pd.read_csv(real("bike-sharing/hour.csv"))
    time = pd.to_datetime(raw["dteday"], utc=True) + pd.to_timedelta(raw["hr"], unit="h")
    frame = raw.drop(columns=["instant", "dteday", "casual", "registered"]).assign(time=time)
    schema = infer(frame, target="cnt", time="time")
    return conform(frame, schema), schema


@pytest.mark.parametrize("model", REGRESSORS, ids=name_of)
def test_bikes(model: Any) -> None:
    rows, schema = bikes()
    assert len(rows) == 17379
    exported(make_pipeline(StandardScaler(), model), rows, schema)


@pytest.mark.parametrize("model", CLASSIFIERS, ids=name_of)
def test_incomes(model: Any) -> None:
    raw = pd.read_csv(real("adult/adult.csv")).assign(time=lambda f: np.arange(len(f)) * 60.0)[:10000]
    schema = infer(raw, target="income-per-year", time="time")
    rows = conform(raw, schema)
    text = [c.name for c in schema.inputs if c.dtype == "string"]
    numbers = [c.name for c in schema.inputs if c.dtype == "float64"]
    columns = make_column_transformer((ENCODERS[0], text), (StandardScaler(), numbers), sparse_threshold=0)
    exported(make_pipeline(columns, model), rows, schema)


@pytest.mark.parametrize(
    "model", [LogisticRegression(), LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1)], ids=name_of
)
def test_messages(model: Any) -> None:
    raw = pd.read_csv(real("sms-spam/SMSSpamCollection"), sep="\t", quoting=3)
    frame = raw.assign(time=np.arange(len(raw)) * 60.0)
    schema = infer(frame, target="Label", time="time")
    rows = conform(frame, schema)
    words = make_column_transformer((TfidfVectorizer(max_features=500), "SMS"), sparse_threshold=0)
    exported(make_pipeline(words, model), rows, schema)


def test_words_as_a_person_splits_them() -> None:
    frame = pd.DataFrame({"text": ["Ab cd-ef 12", "x ab 12 12", "cd cd", "Ef!"] * 20, "y": ["a", "b", "b", "a"] * 20})
    schema = infer(frame.assign(time=np.arange(80.0)), target="y", time="time")
    schema = msgspec.structs.replace(schema, inputs=(Column("text", "string", "text"),))
    rows = conform(frame.assign(time=np.arange(80.0)), schema)
    words = make_column_transformer((TfidfVectorizer(token_pattern="[a-z]+"), "text"), sparse_threshold=0)
    exported(make_pipeline(words, LogisticRegression()), rows, schema)


@pytest.mark.parametrize(
    "first", [PCA(2), SelectKBest(f_regression, k=2), QuantileTransformer(n_quantiles=20)], ids=name_of
)
def test_a_pipeline_of_numbers_may_begin_with_any_step(first: Any) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc")).assign(time=np.arange(300.0))
    frame["y"] = frame["a"] + frame["b"] ** 2
    schema = infer(frame, target="y", time="time")
    exported(make_pipeline(first, LinearRegression()), conform(frame, schema), schema)


@pytest.mark.parametrize("wrap", [make_pipeline, make_union], ids=["pipeline", "union"])
def test_columns_may_be_taken_apart_by_what_a_first_step_begins_with(wrap: Any) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc")).assign(time=np.arange(300.0))
    frame["y"] = frame["a"] + frame["b"] ** 2
    schema = infer(frame, target="y", time="time")
    first = wrap(make_column_transformer((StandardScaler(), ["a", "b"]), ("passthrough", ["c"])))
    exported(make_pipeline(first, LinearRegression()), conform(frame, schema), schema)


def test_what_has_no_converter_is_told_what_serves_it() -> None:
    rows = pd.DataFrame({"a": np.arange(20.0)})
    model = TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1)
    fitted = with_cast(model).fit(rows, np.arange(20.0))
    with pytest.raises(UsageError, match=r'TransformedTarget.* cannot be exported .*or say runtime = "native" in'):
        to_onnx(fitted, (Column("a", "float64"),), "regression")


def test_logarithms_of_word_counts_are_refused() -> None:
    rows = pd.DataFrame({"text": ["a b", "c d"] * 10})
    words = make_column_transformer((TfidfVectorizer(sublinear_tf=True, token_pattern="[a-z]"), "text"))
    fitted = with_cast(make_pipeline(words, LogisticRegression())).fit(rows, ["x", "y"] * 10)
    with pytest.raises(ParityError, match=r"sublinear_tf=True.*silently wrong"):
        to_onnx(fitted, (Column("text", "string", "text"),), "classification")
