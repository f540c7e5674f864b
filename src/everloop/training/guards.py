"""The guards of a bundle: fitted on training rows, their thresholds calibrated out of time.

Outliers: squared distance to the nearest of k-means prototypes (a reconstruction method: Tax, One-class classification,
Delft 2001, chapter 3), columns in standard deviations, a category as its rarity, an image as brightness by part.
Adversarial rows: feature squeezing (Xu, Evans and Qi, NDSS 2018), each number rounded to 32 levels. Thresholds are the
conformal quantile (Vovk, Gammerman and Shafer 2005), finite-sample correction included, of scores of rows newer than
all that the scoring guard saw.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.inference.guards import FILE, GUARDED, Described, GraphGuard, SchemaGuard, file_of
from everloop.inference.media import arrays_of, media_of
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.inference.tensors import tensor_of
from everloop.training.guard_graphs import (
    Distance,
    distance_graph,
    fuse,
    numbers_of,
    pooled,
    squeeze_graph,
    words_of,
)
from everloop.types import Column, Task

__all__ = ["Earlier", "Policies", "conformal_threshold", "differentiable", "fit_outlier", "make_guards"]

RATE, CHUNKS, FEWEST = 0.01, 8, 50
PROTOTYPES, MOST_ROWS, LEVELS = 128, 20_000, 32
Floats = NDArray[np.float64]


class Policies(msgspec.Struct, frozen=True):
    """What each guard does with a row it finds."""

    schema: Literal["off", "flag", "clip", "reject"] = "flag"
    outlier: Literal["off", "flag", "reject"] = "flag"
    adversarial: Literal["off", "flag", "reject"] = "flag"


class Earlier(msgspec.Struct, frozen=True):
    """The recipe's graph fitted before the model's out-of-time rows, and their positions in the training table."""

    graph: bytes
    place: tuple[int, ...]


def make_guards(
    rows: pd.DataFrame,
    inputs: Sequence[Column],
    task: Task,
    graph: bytes,
    policies: Policies,
    earlier: Earlier | None = None,
    seed: int = 0,
) -> dict[str, bytes]:
    """Return the files of a bundle's guards, by path; none where every guard is off.

    `rows` is the training table in the order of time, `graph` the model. `earlier` is what the adversarial guard is
    calibrated by; without it there is none (the model has no gradient, or nobody asked). A graph whose threshold would
    need more out-of-time rows (99 for one in a hundred) is left out: a guess would flag at a rate that nobody knows.
    """
    made: dict[str, tuple[GraphGuard, bytes]] = {}
    if policies.outlier != "off" and _guardable(inputs):
        method = f"squared distance to the nearest of {PROTOTYPES} prototypes"
        threshold, count = _calibrated(_outlier_scores(rows, inputs, seed))
        if threshold is not None:
            guard = GraphGuard("outlier", policies.outlier, threshold, RATE, count, method, "Tax 2001")
            made["outlier"] = guard, fit_outlier(rows, inputs, seed)
    if policies.adversarial != "off" and earlier is not None and _squeezable(inputs):
        method = f"feature squeezing, {LEVELS} levels"
        threshold, count = _calibrated(_squeezed_scores(rows, inputs, task, earlier))
        if threshold is not None:
            source = "Xu, Evans and Qi 2018"
            guard = GraphGuard("adversarial", policies.adversarial, threshold, RATE, count, method, source)
            made["adversarial"] = guard, squeeze_graph(graph, inputs, _ranges(rows, inputs), task, LEVELS)
    schema = _schema_guard(rows, inputs, policies.schema) if policies.schema != "off" else None
    if schema is None and not made:
        return {}
    described = Described(schema=schema, graphs=tuple(guard for guard, _ in made.values()))
    files = {FILE: msgspec.json.format(msgspec.json.encode(described), indent=2)}
    if made:
        graphs = {name: bytes_ for name, (_, bytes_) in made.items()}
        files |= {file_of(name): bytes_ for name, bytes_ in graphs.items()}
        files[GUARDED] = fuse(graph, graphs, inputs, task)
    return files


def conformal_threshold(scores: Floats, rate: float = RATE) -> float | None:
    """Return the score that an exchangeable new row exceeds with probability at most `rate`.

    It is the ceil((n + 1)(1 - rate))-th smallest; None where n scores are too few to have one, or it is not finite.
    """
    rank = math.ceil((len(scores) + 1) * (1 - rate) - 1e-9)
    if not 0 < rank <= len(scores):
        return None
    threshold = float(np.sort(scores)[rank - 1])
    return threshold if math.isfinite(threshold) else None


def differentiable(estimator: Any) -> bool:
    """Return whether an estimator's last step is a linear model or a network of scikit-learn."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    kinds = {kind.__module__.rpartition(".")[0] for kind in type(last).__mro__}
    return bool(kinds & {"sklearn.linear_model", "sklearn.neural_network"})


def fit_outlier(rows: pd.DataFrame, inputs: Sequence[Column], seed: int = 0) -> bytes:
    """Return the graph of the distance to prototypes of `rows`; more than 20,000 are thinned out evenly."""
    from sklearn.cluster import MiniBatchKMeans

    rows = rows.iloc[:: max(1, -(-len(rows) // MOST_ROWS))]
    numbers, text = _numbers(rows, inputs), words_of(inputs)
    missing = np.isnan(numbers)
    counts = np.maximum((~missing).sum(axis=0), 1)
    fill = np.where(missing, 0.0, numbers).sum(axis=0) / counts
    places = tuple(place for place, column in enumerate(text) if column.categories is not None)
    rarity = tuple(_rarities(rows[text[place].name].tolist()) for place in places)
    words = [[known[word] for word in rows[text[place].name]] for place, known in zip(places, rarity, strict=True)]
    values = np.hstack([np.where(missing, fill, numbers), np.array(words).reshape(len(places), len(rows)).T])
    mean, spread = values.mean(axis=0), values.std(axis=0)
    scale = np.where(spread > 1e-9 * np.maximum(1.0, np.abs(mean)), spread, 1.0)
    clusters = min(PROTOTYPES, max(1, len(rows) // 10))
    with warnings.catch_warnings():  # rows that repeat make fewer clusters than asked for: no harm
        warnings.simplefilter("ignore")
        means = MiniBatchKMeans(clusters, random_state=seed, n_init=1).fit((values - mean) / scale)
    return distance_graph(
        Distance(
            numbers=numbers.shape[1], mean=mean, scale=scale, prototypes=means.cluster_centers_.astype(np.float64),
            fill=fill if missing.any() else None, words=len(text), places=places, rarity=rarity,
            unseen=math.log(len(rows) + 1.0),
        )
    )  # fmt: skip


def _outlier_scores(rows: pd.DataFrame, inputs: Sequence[Column], seed: int) -> Floats:
    """Return the scores of the newer half of the rows: of each eighth of it by a guard fitted on all older rows.

    The model's out-of-time rows are some weeks: calibrated on an autumn alone, a winter is an outlier.
    """
    found = [np.empty(0)]
    for chunk in np.array_split(np.arange(len(rows) // 2, len(rows)), CHUNKS):
        if len(chunk) and chunk[0] >= FEWEST:
            graph = fit_outlier(rows.iloc[: chunk[0]], inputs, seed)
            found.append(_scores(graph, rows.iloc[chunk], inputs))
    return np.concatenate(found)


def _squeezed_scores(rows: pd.DataFrame, inputs: Sequence[Column], task: Task, earlier: Earlier) -> Floats:
    """Return the scores of the model's out-of-time rows by the earlier graph, which never saw them."""
    place = sorted(earlier.place)
    if not place or place[0] < FEWEST:
        return np.empty(0)
    newest, before = rows.iloc[place], rows.iloc[: place[0]]
    graph = squeeze_graph(earlier.graph, inputs, _ranges(before, inputs), task, LEVELS)
    feeds = {c.name: tensor_of(c, newest[c.name]) for c in inputs}
    answer = OnnxRuntime(earlier.graph).predict(feeds)["prediction" if task == "regression" else "probability"]
    return _scores(graph, newest, inputs, answer.astype(np.float64))


def _calibrated(scores: Floats) -> tuple[float | None, int]:
    return conformal_threshold(scores), len(scores)


def _scores(graph: bytes, rows: pd.DataFrame, inputs: Sequence[Column], answer: Floats | None = None) -> Floats:
    runtime = OnnxRuntime(graph)
    words = rows[[c.name for c in words_of(inputs)]].to_numpy(dtype=object)
    feeds: dict[str, Any] = {"numbers": _numbers(rows, inputs), "words": words, "answer": answer}
    scores: Floats = runtime.predict({name: feeds[name] for name in runtime.inputs})["score"].reshape(-1)
    return np.where(np.isnan(scores), np.inf, scores)


def _numbers(rows: pd.DataFrame, inputs: Sequence[Column]) -> Floats:
    numbers = rows[[c.name for c in numbers_of(inputs)]].to_numpy(dtype=np.float64)
    return np.hstack([numbers, *(pooled(arrays_of(c, rows[c.name])) for c in media_of(inputs))])


def _schema_guard(rows: pd.DataFrame, inputs: Sequence[Column], policy: Any) -> SchemaGuard:
    ranges = _ranges(rows, inputs)
    return SchemaGuard(policy, ranges, tuple(name for name in ranges if not rows[name].isna().any()))


def _ranges(rows: pd.DataFrame, inputs: Sequence[Column]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest value of each column of numbers that holds one."""
    names = [c.name for c in inputs if c.dtype in ("float64", "int64") and not c.shape and rows[c.name].notna().any()]
    return {name: (float(rows[name].min()), float(rows[name].max())) for name in names}


def _rarities(words: list[str]) -> dict[str, float]:
    return {word: -math.log(count / len(words)) for word, count in sorted(Counter(words).items())}


def _guardable(inputs: Sequence[Column]) -> bool:
    return bool(numbers_of(inputs) or media_of(inputs)) or any(c.categories is not None for c in words_of(inputs))


def _squeezable(inputs: Sequence[Column]) -> bool:
    return all(not c.shape for c in inputs) and any(c.dtype == "float64" for c in inputs)
