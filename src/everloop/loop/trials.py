"""Trials of a tuning: each fitted at one past origin after another, as steps that run where the project's run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from everloop.data import Schema, event_times
from everloop.loop.retraining import LEARNING, Ask, problem_of
from everloop.pipelines import Artifact, ArtifactStore, project_folder, step
from everloop.pipelines.executors import Executor, StepResult, StepTask, Usage
from everloop.settings import Search
from everloop.training import EVERYTHING, fixed
from everloop.training.media import decoded
from everloop.training.search import end_trial, suggested
from everloop.training.window import losses_after, past_origins
from everloop.types import Json

__all__ = ["Judging", "Trial", "judge_trial", "run_trials", "trial_of"]


State = Literal["running", "complete", "pruned", "fail"]


class Trial(msgspec.Struct, frozen=True):
    """One choice of parameters; `losses` is the mean loss so far after each past origin, `loss` that after all."""

    number: int
    state: str
    parameters: dict[str, Json]
    loss: float | None
    losses: list[float]


class Judging(NamedTuple):
    """What all trials of a call share; `known` is how many of the oldest rows they see, `places` how many origins."""

    executor: Executor
    artifacts: ArtifactStore
    rows: Artifact
    schema: Schema
    ask: Ask
    known: int
    places: int
    root: Path
    """The project's folder."""


@step(cache=False, preload=LEARNING)
def judge_trial(rows: pd.DataFrame, schema: Schema, ask: Ask, known: int, place: int) -> list[float]:
    """Return the losses by block after one past origin, with the parameters of `ask`, on the `known` oldest rows."""
    problem, seen = problem_of(schema, ask, project_folder()), rows.iloc[:known]
    times = event_times(seen, schema.time)
    span = past_origins(problem, times)[place]
    found = losses_after(problem, decoded(seen, schema.inputs), times, fixed(ask.window) or EVERYTHING, span)
    return [float(loss) for loss in found]


def trial_of(frozen: Any) -> Trial:
    """Return a trial as the study keeps it."""
    means = [float(value) for _, value in sorted(frozen.intermediate_values.items())]
    return Trial(frozen.number, frozen.state.name.lower(), dict(frozen.params), frozen.value, means)


def run_trials(
    study: Any,
    searched: Mapping[str, Search],
    judging: Judging,
    parallel: int,
    more: Callable[[int], bool],
    ended: Callable[[Trial, float, str, Usage | None], None],
) -> None:
    """Try while there shall be `more` beside so many under way; a study prunes between two origins.

    `ended` is told each trial, when it began, why it failed and what it took.
    """
    running: list[_Running] = []
    while True:
        while len(running) < parallel and more(len(running)):
            running.append(_next(study, searched, judging))
        if not running:
            return
        wait([one.future for one in running], return_when=FIRST_COMPLETED)
        left = []
        for one in running:
            if not one.future.done():
                left.append(one)
                continue
            state, one, reason = _went_on(one, judging)
            if state == "running":
                left.append(one._replace(future=_submit(judging, one.ask, len(one.means))))
                continue
            loss = one.means[-1] if state == "complete" else None
            end_trial(study, one.trial, state, loss)
            done = Trial(one.trial.number, state, dict(one.trial.params), loss, one.means)
            ended(done, one.began, reason, one.usage)
        running = left


class _Running(NamedTuple):
    """A trial under way, and the losses after the origins that are behind it."""

    trial: Any
    ask: Ask
    losses: list[float]
    means: list[float]
    began: float
    future: Future[StepResult]
    usage: Usage | None = None
    """What the steps behind it took together."""


def _next(study: Any, searched: Mapping[str, Search], judging: Judging) -> _Running:
    trial = study.ask()
    parameters = judging.ask.parameters | suggested(trial, searched)
    ask = msgspec.structs.replace(judging.ask, parameters=parameters)
    return _Running(trial, ask, [], [], time.time(), _submit(judging, ask, 0))


def _submit(judging: Judging, ask: Ask, place: int) -> Future[StepResult]:
    told = {"schema": judging.schema, "ask": ask, "known": judging.known, "place": place}
    parameters = {name: msgspec.json.encode(value) for name, value in told.items()}
    return judging.executor.submit(
        StepTask("judge_trial", judge_trial, parameters, {"rows": judging.rows}, judging.root)
    )


def _went_on(one: _Running, judging: Judging) -> tuple[State, _Running, str]:
    """Return how a trial stands after another origin, and why where it failed."""
    if error := one.future.exception():
        return "fail", one, f"{type(error).__name__}: {error}"
    result = one.future.result()
    artifact, one = result.outputs["return"], one._replace(usage=_sum(one.usage, result.usage))
    losses = [*one.losses, *judging.artifacts.get(artifact)]
    judging.artifacts.remove(artifact)
    mean = float(np.mean(losses)) if losses else float("nan")
    if not np.isfinite(mean):
        return "fail", one, "its loss is no number"
    one.trial.report(mean, len(one.means))
    one = one._replace(losses=losses, means=[*one.means, mean])
    if len(one.means) == judging.places:
        return "complete", one, ""
    return "pruned" if one.trial.should_prune() else "running", one, ""


def _sum(before: Usage | None, more: Usage | None) -> Usage | None:
    if before is None or more is None:
        return more or before
    seconds, used = before.seconds + more.seconds, before.cpu_seconds + more.cpu_seconds
    return Usage(seconds, used, max(before.peak_bytes, more.peak_bytes))
