"""The standard retraining pipeline: collect, choose what to train on, train, evaluate, gate, bundle."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop import bundles
from everloop.bundles import Manifest, PublicKey, SigningKey
from everloop.checks import Verdict
from everloop.data import Schema, by_row, event_times
from everloop.data.media import beside
from everloop.data.schema import ORDER
from everloop.data.sources import journal
from everloop.evaluation import Answered, GateEvidence, build_gate, losses, own_check, own_checks, score
from everloop.inference import Model, arrays_of, media_of, tensor_of
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.journal import Position
from everloop.loop.answering import answers_of, remembered
from everloop.loop.inspecting import Inspection, answered, filed, inspection
from everloop.loop.parts import Parts, Reading, Shown
from everloop.pipelines import pipeline, project_folder, step
from everloop.settings import Augment, Checks
from everloop.statistics import LevelRules, block_means
from everloop.training import (
    AUTO,
    EVERYTHING,
    TIME_INDEX,
    GraphPart,
    Problem,
    Recipe,
    build,
    check_answers,
    check_parity,
    choose,
    fit_recipe,
    fixed,
    load_function,
    merge,
    native,
    to_onnx,
)
from everloop.training.augment import Augmented
from everloop.training.curves import Curves, Watched
from everloop.training.flat import Flat
from everloop.training.guards import Earlier, Policies, differentiable, make_guards
from everloop.training.media import decoded
from everloop.training.window import Trained
from everloop.types import Column, as_json

__all__ = ["Ask", "Champion", "Outcome", "Where", "bundle_of", "ingest", "problem_of", "retrain"]


LEARNING = (
    __name__, "lightgbm", "onnxmltools", "onnxruntime", "skl2onnx", "sklearn.cluster", "sklearn.compose",
    "sklearn.pipeline", "sklearn.preprocessing",
)  # fmt: skip
"""What fitting and exporting import, whatever the estimator."""
GRAPH = "model.onnx"
MEDIA_ROWS = 500
"""Out-of-time rows that a bundle keeps, where they hold images or videos."""


class Where(msgspec.Struct, frozen=True):
    """Where rows come from: the project's files and code, and the journal up to an observation time."""

    folder: str
    source: str
    reading: Reading
    journal: str
    until: float
    journal_end: Position = Position()
    checks: Checks = Checks()
    max_rows: int = 0
    """How many of the newest rows are trained on; 0 is all of them."""
    quarantine: str = ""
    """Where files that break a rule are told of; nowhere without it."""


class Ask(msgspec.Struct, frozen=True):
    """What is to be trained: the project's estimator and how it is judged."""

    model: str
    parameters: dict[str, Any]
    window: str
    first: bool
    seed: int
    horizon: float
    block: float
    gates: dict[str, Any]
    code: dict[str, str]
    """Fingerprints of the project's modules behind `model`: a changed helper is another question."""
    runtime: str = "onnx"
    native: list[str] | None = None
    """The types that native models may hold."""
    level: LevelRules | None = None
    """How answers are corrected once they serve; None where they are not."""
    gap: float = 0.0
    augment: Augment = Augment()
    sensitive: tuple[str, ...] = ()
    """Columns between whose groups a model may not differ."""


class Champion(msgspec.Struct, frozen=True):
    """Whom to beat: the public keys that verify its bundle, and the newest row it was trained on."""

    version: str
    keys: list[str]
    trained_until: float


class Collected(NamedTuple):
    """A training table and its schema; which of its rows were `served`, how many were `left_out` or are `older`."""

    rows: pd.DataFrame
    schema: Schema
    origins: dict[str, NDArray[Any]]


class Window(msgspec.Struct, frozen=True):
    """What a version is trained on and why; every recipe's loss stands in `scores`, by block in `blocks`."""

    name: str
    recipe: Recipe
    reason: str
    scores: dict[str, dict[str, float]]
    rows: int
    start: float
    until: float
    blocks: dict[str, tuple[float, ...]] = {}


class Chosen(NamedTuple):
    """The chosen recipe with its reason, its out-of-time answers (`place`, `answers`), how its estimator learned."""

    choice: Window
    answers: dict[str, NDArray[Any]]
    curves: Curves


class Judged(NamedTuple):
    """Out-of-time metrics, the gate's verdict, and the drift baseline: mean loss by block."""

    metrics: dict[str, float]
    verdict: Verdict
    baseline: list[float]


@step(cache=False, preload=(__name__,))
def collect(where: Where, schema: Schema | None) -> Collected:
    """Return the project's rows and the journal's labelled ones, in the order of time; freeze the schema once.

    Rows of files that break a rule refuse the retraining; served ones are left out, up to a share.
    """
    folder, told = Path(where.folder), where.reading
    table = Parts(where.source, folder, told, beside(where.source, folder))
    if schema is None:
        shown = Shown(told)
        shown.take(table)
        schema = shown.schema()
    newest = filed(table, schema, where.checks, where.source, where.quarantine, where.until, where.max_rows)
    served = journal.labelled(Path(where.journal), schema, where.until, where.journal_end)
    kept, left_out = answered(by_row(served, told.process, os.environ), schema, where.checks)
    rows, count = newest.table.reset_index(drop=True), newest.rows
    own = np.zeros(len(rows), dtype=np.bool_)
    if kept is not None:
        rows = pd.concat([rows, kept], ignore_index=True).sort_values(schema.time, kind="stable")
        own, count = rows.index.to_numpy() >= len(own), count + len(kept)
        rows, own = rows.iloc[-where.max_rows :], own[-where.max_rows :]
    origins = {"served": own, "left_out": np.asarray(left_out), "older": np.asarray(count - len(rows))}
    return Collected(rows.reset_index(drop=True), schema, origins)


@step
def inspect(
    rows: pd.DataFrame, schema: Schema, origins: dict[str, NDArray[Any]], checks: Checks, horizon: float
) -> Inspection:
    """Tell what may leak from the rows that models are judged on, and how served rows differ from files'."""
    found = inspection(rows, schema, origins["served"], int(origins["left_out"]), checks, horizon)
    return msgspec.structs.replace(found, older=int(origins["older"]))


class Ingested(NamedTuple):
    """A training table, its schema, and what was found in it."""

    rows: pd.DataFrame
    schema: Schema
    inspection: Inspection


@pipeline
def ingest(where: Where, schema: Schema | None, checks: Checks, horizon: float) -> Ingested:
    """Return the training table, which becomes a data version before anything is trained on it."""
    table = collect(where, schema)
    return Ingested(table.rows, table.schema, inspect(table.rows, table.schema, table.origins, checks, horizon))


@step(preload=LEARNING)
def choose_window(rows: pd.DataFrame, schema: Schema, ask: Ask) -> Chosen:
    """Choose what to train on by rolling-origin evaluation on the newest rows."""
    rows = decoded(rows, schema.inputs)
    watched, times = Watched(problem_of(schema, ask, project_folder())), event_times(rows, schema.time)
    first = ask.first and ask.window == "auto"
    recipe = EVERYTHING if first else fixed(ask.window)
    choice = choose(watched.problem, rows, times, AUTO if recipe is None else (recipe,))
    told = Window(
        choice.recipe.name,
        choice.recipe,
        f"{EVERYTHING.name}: the first version; windows compete from the next one on" if first else choice.reason,
        choice.scores,
        len(rows),
        float(times[0]),
        float(times[-1]),
        choice.blocks,
    )
    return Chosen(told, {"place": np.asarray(choice.rows), "answers": choice.answers}, watched.curves(rows))


@step(preload=LEARNING)
def train(rows: pd.DataFrame, schema: Schema, choice: Window, ask: Ask) -> dict[str, bytes]:
    """Fit the chosen recipe on all rows, and refuse what would be served where it answers otherwise.

    The files are `model.onnx`, or those of a native model.
    """
    rows = decoded(rows, schema.inputs)
    problem, times = problem_of(schema, ask, project_folder()), event_times(rows, schema.time)
    trained = fit_recipe(problem, rows, times, choice.recipe, float(times[-1]))
    spread = float(rows[schema.target.name].std()) if schema.task == "regression" else 1.0
    if ask.runtime == "native":
        files = native.save(trained, schema.inputs, ask.native or [])
        served = native.load(files, ask.native or []).answers(rows)
        check_answers(served, trained.answers(rows), schema.task, spread, "the saved model")
        return files
    merged = _graph(trained, schema)
    check_parity(merged, trained.answers(rows), rows, schema.inputs, schema.task, spread)
    return {GRAPH: merged}


@step(preload=LEARNING)
def guard(
    rows: pd.DataFrame,
    schema: Schema,
    model: dict[str, bytes],
    choice: Window,
    answers: dict[str, NDArray[Any]],
    ask: Ask,
    policies: Policies,
) -> dict[str, bytes]:
    """Return the files of the guards; a differentiable model is fitted once more, without its out-of-time rows.

    A native model has the schema guard alone: there is no graph that could give scores.
    """
    rows = decoded(rows, schema.inputs)
    if GRAPH not in model:
        return make_guards(rows, schema.inputs, schema.task, b"", Policies(policies.schema, "off", "off"))
    problem, times, place = problem_of(schema, ask, project_folder()), event_times(rows, schema.time), answers["place"]
    earlier = None
    plain = not media_of(schema.inputs)  # no number of images and videos is rounded
    if policies.adversarial != "off" and place[0] and plain and differentiable(_plain(problem)):
        trained = fit_recipe(problem, rows, times, choice.recipe, float(times[place[0] - 1]))
        earlier = Earlier(_graph(trained, schema), tuple(place.tolist()))
    return make_guards(rows, schema.inputs, schema.task, model[GRAPH], policies, earlier, ask.seed)


@step(preload=LEARNING)
def judge(
    rows: pd.DataFrame,
    schema: Schema,
    model: dict[str, bytes],
    answers: dict[str, NDArray[Any]],
    ask: Ask,
    champion: Champion | None,
    bundle: Path | None,
) -> Judged:
    """Score the recipe's out-of-time answers, and hold them against the champion on rows it was not trained on."""
    problem = problem_of(schema, ask, project_folder())
    judged = rows.iloc[answers["place"]]
    times, truth = event_times(judged, schema.time), problem.truth(judged)
    served = problem.served(times, truth, answers["answers"])
    lost = problem.loss(truth, served)
    baseline = block_means(times, lost, ask.block, float(times[0])).tolist()
    shown = _answered(judged, schema, truth, served, ask)
    evidence = GateEvidence(score(schema.task, truth, served), rows=shown, predict=_asking(model, schema))
    own = [own_check(name, load_function(name, project_folder())) for name in own_checks(ask.gates)]
    if champion is not None and bundle is not None:
        known = Model.load(bundle, [PublicKey.of_text(key) for key in champion.keys], native=ask.native)
        fair, answered = times > champion.trained_until, answers_of(known, judged, schema)
        if not fair.any():  # no new rows (the code changed): its own out-of-time answers are fair too
            inputs = {c.name: tensor_of(c, judged[c.name]) for c in schema.inputs}
            fair, answered = remembered(known, inputs, times, answered)
        theirs = problem.loss(truth, problem.served(times, truth, answered))
        start = float(times[fair][0]) if fair.any() else 0.0
        evidence = msgspec.structs.replace(
            evidence,
            candidate=tuple(block_means(times[fair], lost[fair], ask.block, start)),
            champion=tuple(block_means(times[fair], theirs[fair], ask.block, start)),
        )
    return Judged(evidence.metrics, build_gate(ask.gates, own)(evidence), baseline[-28:])


@step(preload=LEARNING)
def assemble(
    rows: pd.DataFrame,
    schema: Schema,
    model: dict[str, bytes],
    answers: dict[str, NDArray[Any]],
    guards: dict[str, bytes],
) -> dict[str, bytes]:
    """Return the files of a bundle; who holds the key signs them."""
    place, answered = answers["place"], answers["answers"]
    if media_of(schema.inputs):  # arrays of pixels are large: some rows stand for all
        some = np.linspace(0, len(place) - 1, min(len(place), MEDIA_ROWS)).astype(int)
        place, answered = place[some], answered[some]
    reference = _reference(decoded(rows.iloc[place], schema.inputs), schema, answered)
    return {**model, "schema.json": msgspec.json.encode(schema), "reference.npz": reference, **guards}


class Outcome(NamedTuple):
    """What the pipeline gives back: `files` are those of the bundle."""

    choice: Window
    metrics: dict[str, float]
    verdict: Verdict
    baseline: list[float]
    files: dict[str, bytes]


@pipeline
def retrain(
    rows: pd.DataFrame, schema: Schema, ask: Ask, champion: Champion | None, bundle: Path | None, policies: Policies
) -> Outcome:
    """Return what was trained on `rows`, judged; `bundle` is the champion's."""
    chosen = choose_window(rows, schema, ask)
    model = train(rows, schema, chosen.choice, ask)
    judged = judge(rows, schema, model, chosen.answers, ask, champion, bundle)
    guards = guard(rows, schema, model, chosen.choice, chosen.answers, ask, policies)
    files = assemble(rows, schema, model, chosen.answers, guards)
    return Outcome(chosen.choice, judged.metrics, judged.verdict, judged.baseline, files)


def bundle_of(done: Outcome, schema: Schema, folder: Path, key: SigningKey, **origin: Any) -> str:
    """Write the signed bundle and return the hash of its model; one that is there already is verified instead.

    `origin` says where it comes from: the manifest's name, run, data version, commit and time.
    """
    if not folder.exists():
        described = Manifest(
            task=schema.task,
            inputs=schema.inputs,
            outputs=_outputs(schema),
            classes=schema.classes,
            window=as_json(done.choice),
            metrics=done.metrics,
            **origin,
        )
        bundles.write(folder, described, done.files, key)
    bundle = bundles.load(folder, (key.public,))
    return bundle.manifest.files[GRAPH if GRAPH in bundle.files else native.FILE]


def problem_of(schema: Schema, ask: Ask, folder: Path) -> Problem:
    """Return what all fits of one training share; the project's code lies in `folder`."""
    task, media = schema.task, bool(media_of(schema.inputs))

    def plain() -> Any:
        built = build(ask.model, folder, ask.parameters, ask.seed, task, graph=ask.runtime == "onnx" and not media)
        return built if not media or hasattr(built, "to_onnx") else Flat(built)

    def loss(truth: NDArray[Any], answers: NDArray[np.float64]) -> NDArray[np.float64]:
        return losses(task, truth, answers)

    return Problem(
        task=task,
        inputs=tuple(schema.names),
        target=schema.target.name,
        classes=schema.classes,
        build=lambda: Augmented(plain(), ask.augment, schema.inputs, ask.seed) if ask.augment.on else plain(),
        loss=loss,
        horizon=ask.horizon,
        block=ask.block,
        level=ask.level,
        gap=ask.gap,
    )


def _plain(problem: Problem) -> Any:
    """Return an unfitted estimator of a problem, without what only its fit sees."""
    built = problem.build()
    return built.estimator if isinstance(built, Augmented) else built


def _answered(
    rows: pd.DataFrame, schema: Schema, truth: NDArray[Any], answers: NDArray[np.float64], ask: Ask
) -> Answered:
    """Return judged rows as an evaluation takes them, without images and videos."""
    columns = tuple(c for c in schema.inputs if c.prepare is None)
    inputs = {c.name: rows[c.name].to_numpy() for c in columns}
    times, length = event_times(rows, schema.time), 0.0 if schema.time == ORDER else ask.block
    return Answered(schema.task, schema.classes, columns, inputs, truth, answers, times, length, ask.sensitive)


def _asking(model: dict[str, bytes], schema: Schema) -> Callable[[Mapping[str, NDArray[Any]]], Any] | None:
    """Return what asks the graph, which is loaded at the first question; None where there are no rows or no graph."""
    if GRAPH not in model or media_of(schema.inputs):
        return None
    name = "prediction" if schema.task == "regression" else "probability"
    runtime = cache(lambda: OnnxRuntime(model[GRAPH]))

    def predict(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        found = runtime().predict({c.name: tensor_of(c, inputs[c.name]) for c in schema.inputs})[name]
        answers = np.asarray(found, dtype=np.float64)
        return answers.reshape(-1) if schema.task == "regression" else answers

    return predict


def _graph(trained: Trained, schema: Schema) -> bytes:
    """Return the one graph of all parts of a trained recipe."""
    parts = []
    for part in trained.parts:
        index = (Column(TIME_INDEX, "float64"),) if part.time_index is not None else ()
        graph = to_onnx(part.estimator, (*schema.inputs, *index), schema.task)
        parts.append(GraphPart(graph, tuple(part.level) if part.level is not None else None, part.time_index))
    return merge(parts, schema.inputs, schema.task, schema.classes)


def _outputs(schema: Schema) -> tuple[Column, ...]:
    if schema.task == "regression":
        return (Column("prediction", "float64"),)
    dtype: Literal["string", "int64"] = "string" if isinstance(schema.classes[0], str) else "int64"
    shape = (len(schema.classes),)
    return (Column("label", dtype, "categorical"), Column("probability", "float64", shape=shape))


def _reference(rows: pd.DataFrame, schema: Schema, answers: NDArray[np.float64]) -> bytes:
    """Return out-of-time rows with their answers: what drift is measured against (arrays only, no pickle)."""
    arrays: dict[str, NDArray[Any]] = {
        f"input:{c.name}": arrays_of(c, rows[c.name])
        if c.prepare
        else rows[c.name].to_numpy().astype("U" if c.dtype == "string" else c.dtype)
        for c in schema.inputs
    }
    target = rows[schema.target.name].to_numpy()
    arrays["target"] = target.astype("U") if target.dtype == object else target
    arrays |= {"answers": answers, "time": event_times(rows, schema.time)}
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    return out.getvalue()
