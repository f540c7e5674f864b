"""Trials see the rows before the judged ones and no others, are pruned between origins, and go on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.projects import history

from everloop.data import Schema, conform, event_times, infer, timed
from everloop.loop.retraining import Ask, problem_of
from everloop.loop.trials import Judging, Trial, run_trials, trial_of
from everloop.pipelines import ArtifactStore, LocalExecutor
from everloop.settings import Search
from everloop.training import AUTO, EVERYTHING, choose
from everloop.training.window import before_judged, past_origins

optuna = pytest.importorskip("optuna")
from everloop.training.search import open_study, try_again  # noqa: E402

MODEL = """
from sklearn.linear_model import Ridge


def model(alpha=1.0):
    if alpha > 900:
        raise ValueError("too strong")
    return Ridge(alpha)
"""
SEARCHED = {"alpha": Search(min=0.001, max=800.0, log=True)}


def table() -> tuple[pd.DataFrame, Schema]:
    frame, time = timed(history(days=90, change=200), "time")
    schema = infer(frame, target="y", time=time, task="regression")
    return conform(frame, schema), schema


def judging(folder: Path, rows: pd.DataFrame, schema: Schema, gap: float = 0.0) -> Judging:
    (folder / "ridge.py").write_text(MODEL)
    ask = Ask(
        model="ridge:model", parameters={}, window="auto", first=True, seed=0, horizon=7 * 86400.0, block=86400.0,
        gates={}, code={}, gap=gap,
    )  # fmt: skip
    problem, times = problem_of(schema, ask, folder), event_times(rows, schema.time)
    known = before_judged(problem, times)
    places = len(past_origins(problem, times[:known]))
    artifacts = ArtifactStore(str(folder / "artifacts"))
    executor = LocalExecutor(artifacts)
    return Judging(executor, artifacts, artifacts.put(rows), schema, ask, known, places, folder)


def tried(study: Any, shared: Judging, trials: int, searched: dict[str, Search] = SEARCHED) -> list[tuple[Trial, str]]:
    ended: list[tuple[Trial, str]] = []
    run_trials(
        study, searched, shared, 2, lambda under_way: len(ended) + under_way < trials,
        lambda trial, _began, reason, _usage: ended.append((trial, reason)),
    )  # fmt: skip
    return ended


def test_rows_that_gates_judge_on_are_never_seen(tmp_path: Path) -> None:
    rows, schema = table()
    for gap, recipes in ((0.0, (EVERYTHING,)), (3 * 86400.0, AUTO)):
        shared = judging(tmp_path, rows, schema, gap)
        problem, times = problem_of(schema, shared.ask, tmp_path), event_times(rows, schema.time)
        judged = min(choose(problem, rows, times, recipes).rows)
        assert shared.known <= judged
        assert times[shared.known - 1] <= times[judged] - gap
        assert times[shared.known + 1] > times[judged - 1] - gap  # and nearly all of those are seen
    # what lies behind them may be anything at all
    poisoned = rows.assign(y=np.where(np.arange(len(rows)) < shared.known, rows["y"], np.inf))
    study = open_study(tmp_path / "a.log", "a", 0)
    try_again(study, {"alpha": 1.0})
    ((trial, reason),) = tried(study, judging(tmp_path, poisoned, schema, gap), 1)
    assert (trial.state, trial.parameters, reason) == ("complete", {"alpha": 1.0}, "")
    # and the loss is what a choice of window says of the same rows
    known = rows.iloc[: shared.known]
    same = choose(problem, known, times[: shared.known], (EVERYTHING,))
    assert trial.loss == pytest.approx(same.scores["everything"]["loss"])
    assert trial.loss == trial.losses[-1]
    assert len(trial.losses) == shared.places == 4


def test_bad_trials_are_pruned_and_what_fails_says_why(tmp_path: Path) -> None:
    rows, schema = table()
    shared, study = judging(tmp_path, rows, schema), open_study(tmp_path / "b.log", "b", 0)
    for alpha in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 800.0, 0.001):
        study.enqueue_trial({"alpha": alpha})
    ended = {trial.parameters["alpha"]: trial for trial, _ in tried(study, shared, 8)}
    assert ended[800.0].state == "pruned"
    assert 1 <= len(ended[800.0].losses) < 4
    assert ended[0.01].state == "complete"
    (kept,) = (trial_of(one) for one in study.trials if one.params["alpha"] == 800.0)
    assert (kept.state, kept.losses) == ("pruned", ended[800.0].losses)
    study = open_study(tmp_path / "c.log", "c", 0)
    ((trial, reason),) = tried(study, shared, 1, {"alpha": Search(min=901, max=999)})
    assert (trial.state, trial.loss) == ("fail", None)
    assert reason.endswith("too strong")
    assert not list((tmp_path / "artifacts").rglob("*.json"))


def test_a_study_that_was_killed_goes_on(tmp_path: Path) -> None:
    rows, schema = table()
    shared, study = judging(tmp_path, rows, schema), open_study(tmp_path / "d.log", "d", 0)
    try_again(study, {"alpha": 1.0})
    tried(study, shared, 2)
    half = study.ask()
    asked = half.suggest_float("alpha", 0.001, 800.0, log=True)
    half.report(1.0, 0)  # and here it is killed
    again = open_study(tmp_path / "d.log", "d", 0)
    try_again(again, {"alpha": 1.0})
    ended = tried(again, shared, 2)
    states = [one.state.name for one in again.trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert ended[0][0].parameters == {"alpha": asked}
    assert len({one.params["alpha"] for one in again.trials}) == 4


def test_an_uninterrupted_study_gives_the_same_trials_again(tmp_path: Path) -> None:
    rows, schema = table()
    shared = judging(tmp_path, rows, schema)
    found = []
    for name in ("e", "f"):
        ended: list[Trial] = []
        run_trials(
            open_study(tmp_path / f"{name}.log", name, 3), SEARCHED, shared, 1,
            lambda under_way, ended=ended: len(ended) + under_way < 3,  # type: ignore[misc]
            lambda trial, _began, _reason, _usage, ended=ended: ended.append(trial),  # type: ignore[misc]
        )  # fmt: skip
        found.append(ended)
    assert found[0] == found[1]
