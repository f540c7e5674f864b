"""A fitted estimator as one ONNX graph with its preprocessing inside.

Numbers enter as float64 and are cast to float32 only just before the last step, in training as in serving
(`everloop.training.estimators`): a scaler that already works in float32 moves values across the thresholds
of trees.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from everloop.errors import ParityError, UsageError
from everloop.training.fronts import MATRIX
from everloop.types import Column, Task

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSETS", "matrix_to_onnx", "to_onnx"]

OPSETS = {"": 19, "ai.onnx.ml": 3}
OUTPUTS: dict[Task, list[str]] = {"regression": ["prediction"], "classification": ["label", "probability"]}


def to_onnx(estimator: Any, inputs: Sequence[Column], task: Task) -> bytes:
    """Return the graph: one input a column named as it ([rows, 1]), output `prediction` or `label` and `probability`.

    Raises `UsageError` for an estimator that has no converter, `ParityError` for one that converts
    silently wrong (histogram boosting with native categories, logarithms of word counts). An estimator that has a
    method `to_onnx(inputs, task)` exports itself; its graph must have these inputs and outputs, at the end of a
    pipeline one input, the matrix `features` of float32.
    """
    if hasattr(estimator, "to_onnx"):
        return _checked(estimator, inputs, task)
    if hasattr(getattr(estimator, "steps", [("", None)])[-1][1], "to_onnx"):
        return _before_a_network(estimator, inputs, task)
    model = _converted(estimator, [(c.name, _tensor_type(c)) for c in inputs], [c.name for c in inputs], OUTPUTS[task])
    return bytes(model.SerializeToString(deterministic=True))


def matrix_to_onnx(estimator: Any, name: str, width: int, task: Task) -> onnx.ModelProto:
    """Return the graph of an estimator that was fitted on a matrix of float32: one input of so many numbers a row."""
    from skl2onnx.common.data_types import FloatTensorType

    return _converted(estimator, [(name, FloatTensorType([None, width]))], [name], OUTPUTS[task])


def _before_a_network(pipeline: Any, inputs: Sequence[Column], task: Task) -> bytes:
    """Return the steps of a pipeline and, behind them, the graph that its last step makes of itself."""
    import onnx
    from onnx import compose

    last = onnx.load_model_from_string(pipeline.steps[-1][1].to_onnx((), task))
    ends = [(c.name, _tensor_type(c)) for c in inputs]
    first = compose.add_prefix(
        _converted(pipeline[:-1], ends, [c.name for c in inputs], [MATRIX]), "everloop_before_",
        rename_inputs=False, rename_outputs=False,
    )  # fmt: skip
    first.ir_version = last.ir_version
    newest: dict[str, int] = {}
    for opset in (*first.opset_import, *last.opset_import):
        newest[opset.domain] = max(opset.version, newest.get(opset.domain, 0))
    for opset in (*first.opset_import, *last.opset_import):
        opset.version = newest[opset.domain]
    merged = compose.merge_models(first, last, [(MATRIX, MATRIX)])
    return bytes(merged.SerializeToString(deterministic=True))


def _checked(estimator: Any, inputs: Sequence[Column], task: Task) -> bytes:
    """Return the graph that an estimator makes of itself; raises `UsageError` where it has other ends."""
    import onnx

    graph: bytes = estimator.to_onnx(inputs, task)
    model = onnx.load_model_from_string(graph).graph
    wanted = {c.name for c in inputs}, {"prediction"} if task == "regression" else {"label", "probability"}
    for found, names, what in zip((model.input, model.output), wanted, ("inputs", "outputs"), strict=True):
        if odd := {value.name for value in found} ^ names:
            raise UsageError(
                f"{_name(estimator)}.to_onnx gives a graph whose {what} differ in {min(odd)!r}: "
                f"it must have {', '.join(sorted(names))}"
            )
    return graph


def _converted(
    estimator: Any, initial: list[tuple[str, Any]], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    """Return the converter's graph, made right and alike in every process, its inputs and outputs named."""
    from skl2onnx import convert_sklearn
    from sklearn.base import is_classifier
    from sklearn.feature_extraction.text import CountVectorizer

    _register_lightgbm()
    _register_xgboost()
    _register_imputer()
    _refuse_native_categories(estimator)
    _refuse_logarithms_of_counts(estimator)
    pipeline = _with_columns_joined(_with_float32_thresholds(estimator), initial)
    options: dict[Any, Any] = {id(step): {"zipmap": False} for step in _walk(pipeline) if is_classifier(step)}
    options |= {id(step): _tokens(step) for step in _walk(pipeline) if isinstance(step, CountVectorizer)}
    try:
        with warnings.catch_warnings():  # the converter writes booleans as integers, one warning a tree
            warnings.filterwarnings("ignore", "Field onnx.AttributeProto", DeprecationWarning)
            model = convert_sklearn(
                pipeline,
                name="model",
                initial_types=initial,
                target_opset=OPSETS,
                options=options,
            )
    except Exception as error:  # the converters raise bare exceptions of many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"{_name(estimator)} cannot be exported to ONNX: {reason.rstrip('.')}; "
            'change that step, or say runtime = "native" in [training]'
        ) from error
    _keep_float64(model)
    _rename(model, [*inputs, *outputs])  # the converter changes names such as `a-b`
    model.doc_string, model.producer_name, model.producer_version = "", "everloop", ""
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)  # the converter's order changes by process
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return model


def _with_float32_thresholds(estimator: Any) -> Any:
    """Return a copy whose histogram boosting splits at float32 numbers: `x <= t` is the same question for float32 x.

    Rounding down keeps every answer; rounding to the nearest, as the converter does, moves rows that tie.
    """
    if not any(getattr(step, "_predictors", None) for step in _walk(estimator)):
        return estimator
    estimator = copy.deepcopy(estimator)
    for step in _walk(estimator):
        for stage in getattr(step, "_predictors", []):
            for tree in stage:
                exact = tree.nodes["num_threshold"]
                rounded = exact.astype(np.float32)
                above = rounded.astype(np.float64) > exact
                rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
                tree.nodes["num_threshold"] = rounded.astype(np.float64)
    return estimator


def _with_columns_joined(estimator: Any, initial: list[tuple[str, Any]]) -> Any:
    """Return a pipeline over numbers that puts its columns together first: most converters take a single input."""
    from skl2onnx.common.data_types import DoubleTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    numbers = len(initial) > 1 and all(type(kind) is DoubleTensorType for _, kind in initial)
    if not (numbers and isinstance(estimator, Pipeline)) or _takes_columns(estimator):
        return estimator
    names = [name for name, _ in initial]
    every = ColumnTransformer([("columns", "passthrough", names)]).fit(
        pd.DataFrame(np.zeros((1, len(names))), columns=names)
    )
    return Pipeline([("everloop_columns", every), *estimator.steps])


def _takes_columns(step: Any) -> bool:
    """Return whether a step takes the columns of a table apart itself, or begins with one that does."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    if isinstance(step, Pipeline):
        return _takes_columns(step.steps[0][1])
    if isinstance(step, FeatureUnion):
        return any(_takes_columns(part) for _, part in step.transformer_list)
    return isinstance(step, ColumnTransformer)


def _tensor_type(column: Column) -> Any:
    from skl2onnx.common.data_types import BooleanTensorType, DoubleTensorType, Int64TensorType, StringTensorType

    types = {
        "float64": DoubleTensorType,
        "int64": Int64TensorType,
        "bool": BooleanTensorType,
        "string": StringTensorType,
    }
    return types[column.dtype]([None, 1])


def _walk(step: Any) -> list[Any]:
    """Return an estimator and all that it is made of."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    found = [step]
    if isinstance(step, Pipeline):
        children = [s for _, s in step.steps]
    elif isinstance(step, ColumnTransformer):
        children = [t[1] for t in getattr(step, "transformers_", step.transformers)]
    else:
        children = list(
            getattr(step, "estimators_", []) if isinstance(getattr(step, "estimators_", None), list) else []
        )
    for child in children:
        if hasattr(child, "get_params"):
            found += _walk(child)
    return found


def _refuse_native_categories(estimator: Any) -> None:
    for step in _walk(estimator):
        if (
            type(step).__name__.startswith("HistGradientBoosting")
            and getattr(step, "is_categorical_", None) is not None
        ):
            raise ParityError(
                f"{type(step).__name__} with native categories converts to ONNX silently wrong: "
                "encode the categories in the pipeline (OrdinalEncoder, OneHotEncoder), or use LightGBM"
            )


def _refuse_logarithms_of_counts(estimator: Any) -> None:
    for step in _walk(estimator):
        if getattr(step, "sublinear_tf", False):
            raise ParityError(
                f"{type(step).__name__}(sublinear_tf=True) converts to ONNX silently wrong: leave it out, "
                "or count each word once (binary=True)"
            )


def _tokens(vectorizer: Any) -> dict[str, str]:
    """Return how the graph splits a text as scikit-learn does; its own pattern is what a person wrote."""
    usual = vectorizer.token_pattern == r"(?u)\b\w\w+\b"
    return {"locale": "C"} | ({"tokenexp": r"[\p{L}\p{N}_]{2,}"} if usual else {})


def _register_lightgbm() -> None:
    """Teach skl2onnx LightGBM's estimators, where LightGBM is installed."""
    try:
        from lightgbm import LGBMClassifier, LGBMRegressor
    except ImportError:
        return
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    classifier = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    update_registered_converter(
        LGBMClassifier, "LightGbmLGBMClassifier", calculate_linear_classifier_output_shapes, convert_lightgbm,
        options=classifier,
    )  # fmt: skip
    update_registered_converter(
        LGBMRegressor, "LgbmRegressor", calculate_linear_regressor_output_shapes, convert_lightgbm,
        options={"split": None},
    )  # fmt: skip


def _register_xgboost() -> None:
    """Teach skl2onnx XGBoost's estimators, where XGBoost is installed."""
    try:
        from xgboost import XGBClassifier, XGBRegressor
    except ImportError:
        return
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    from everloop.training.xgboost_classes import XGBClassifier as OfAnyClasses

    for number, kind in enumerate((XGBClassifier, OfAnyClasses)):
        update_registered_converter(
            kind, f"XGBoostClassifier{number}", calculate_linear_classifier_output_shapes, convert_xgboost,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        )  # fmt: skip
    update_registered_converter(
        XGBRegressor, "XGBoostRegressor", calculate_linear_regressor_output_shapes, convert_xgboost
    )


def _register_imputer() -> None:
    """Teach skl2onnx to impute float64: the operator it writes exists in ONNX Runtime for float32 alone."""
    from skl2onnx import update_registered_converter
    from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes
    from sklearn.impute import SimpleImputer

    update_registered_converter(
        SimpleImputer, "SklearnSimpleImputer", calculate_sklearn_imputer_output_shapes, _convert_imputer
    )


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    from onnx import TensorProto
    from skl2onnx.common.data_types import DoubleTensorType
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

    imputer = operator.raw_operator
    if imputer.add_indicator:
        raise RuntimeError("SimpleImputer(add_indicator=True) has no converter")
    if not isinstance(operator.inputs[0].type, DoubleTensorType):
        return convert_sklearn_imputer(scope, operator, container)  # type: ignore[no-any-return]
    fill = np.asarray(imputer.statistics_, dtype=np.float64)
    if not np.isnan(imputer.missing_values) or np.isnan(fill).any():
        raise RuntimeError("SimpleImputer fills gaps (NaN) in columns that hold a value, and nothing else")
    values = concatenate_variables(scope, operator.inputs, container)
    missing, filling = (scope.get_unique_variable_name(name) for name in ("missing", "filling"))
    container.add_initializer(filling, TensorProto.DOUBLE, [1, len(fill)], fill.tolist())
    container.add_node("IsNaN", values, missing, op_version=13)
    container.add_node("Where", [missing, filling, values], operator.outputs[0].full_name, op_version=16)
    return None


def _keep_float64(model: onnx.ModelProto) -> None:
    """Put columns together as they are: the converter's operator for it makes float32 of float64 on the way."""
    from onnx import helper

    for node in model.graph.node:
        if node.op_type == "FeatureVectorizer":
            node.op_type, node.domain = "Concat", ""
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("axis", 1))


def _rename(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give the graph's inputs and outputs these names, wherever its nodes mention them; what is inside makes room."""
    graph = model.graph
    ends = [*graph.input, *graph.output]
    renamed = {value.name: name for value, name in zip(ends, names, strict=True)}
    inside = {name for node in graph.node for name in node.output} | {value.name for value in graph.initializer}
    renamed |= {name: f"everloop_{name}" for name in inside.intersection(names) - renamed.keys()}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        for place, name in enumerate(node.output):
            node.output[place] = renamed.get(name, name)
    for value in (*ends, *graph.initializer):
        value.name = renamed.get(value.name, value.name)


def _name(estimator: Any) -> str:
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    return type(last).__name__
