"""How well the loop decides: streams in time order through the whole decision path, without HTTP and without waiting.

Printed are the realised error of what was served (rollout and label delays included), retrainings, recalibrations
switched and levels published, alarms; and what it is held against: the first model left alone, retraining each week on
everything and on the best fixed window in hindsight, and hindsight itself (each week answered by a model that was
fitted on all other weeks). Every stream runs on the defaults. Run `python bench/loop [STREAM ...]`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from streams import STREAMS, Stream

from everloop import store
from everloop.evaluation import losses
from everloop.loop.controller import ControllerState
from everloop.loop.developing import ask_of
from everloop.loop.records import load_state
from everloop.loop.retraining import problem_of
from everloop.loop.workspace import Workspace
from everloop.replay.backtest import backtest, state_folder
from everloop.replay.history import History, load_history
from everloop.replay.scratch import scratch_workspace
from everloop.replay.summary import compare
from everloop.settings import load

COLUMNS = (
    "loop",
    "retrained",
    "switched",
    "levels",
    "alarms",
    "frozen",
    "weekly all",
    "weekly best",
    "hindsight",
    "CPU s",
)
WEEK = 7 * 86400.0


def main(wanted: list[str]) -> None:
    """Print a row a stream."""
    print(f"{'stream':<16}{'metric':>9}" + "".join(f"{name:>13}" for name in COLUMNS))
    for stream in STREAMS:
        if wanted and stream.name not in wanted:
            continue
        if stream.needs is not None and not stream.needs.is_file():
            print(f"{stream.name:<16}left out: its file is not at hand")
            continue
        with tempfile.TemporaryDirectory() as place:
            metric, row = _decided(stream, Path(place) / stream.name)
        shown = "".join(f"{value:>13.4g}" if isinstance(value, float) else f"{value:>13}" for value in row)
        print(f"{stream.name:<16}{metric:>9}{shown}   {stream.told}", flush=True)


def _decided(stream: Stream, folder: Path) -> tuple[str, list[float | int]]:
    stream.write(folder)
    settings, began = load(folder), time.process_time()
    history = load_history(folder, settings)
    workspace = scratch_workspace(folder, settings, history, state_folder(folder))
    try:
        played = backtest(workspace, history, lambda _day, _days: None)
        took = time.process_time() - began
        compared = compare(workspace, history, played, lambda _done, _total: None, calendars=("weekly",))
        found = compared.values() | {"hindsight": compared.value(_hindsight(workspace, history))}
        names = ("frozen", "weekly_all", "weekly", "hindsight")
        return compared.metric, [found["loop"], *_counted(workspace), *(found[name] for name in names), took]
    finally:
        workspace.close()


def _counted(workspace: Workspace) -> list[int]:
    """Return retrainings after the first, recalibrations switched, levels published, and evaluations with an alarm."""
    responses = [row["response"] for row in workspace.store.rows(sa.select(store.decision.c.response))]
    firing = sa.select(store.signal.c.time).where(
        store.signal.c.firing == 1, store.signal.c.name.in_(("realised_loss", "challenger_gain", "raw_gain"))
    )
    with workspace.store.read() as connection:
        state: ControllerState = load_state(connection, "controller", ControllerState)
    alarms = len(workspace.store.rows(firing.distinct()))
    return [responses.count("retrain") - 1, responses.count("recalibrate"), state.calibration.updates, alarms]


def _hindsight(workspace: Workspace, history: History) -> np.ndarray:
    """Return the losses of models that have seen all but the week that they answer, past and future."""
    ask = ask_of(workspace.settings, workspace.folder, first=False)
    problem = problem_of(history.schema, ask, workspace.folder)
    fold = ((history.times - history.times[0]) // WEEK).astype(int) % 5
    lost = np.empty(len(history.table))
    inputs, target = list(problem.inputs), history.schema.target.name
    index = (history.times - history.times[0]) / 86400.0
    table = history.table[inputs].assign(everloop_time=index)
    for one in range(5):
        fitted = problem.build().fit(table[fold != one], history.table[target][fold != one])
        rows = history.table[fold == one]
        if problem.task == "regression":
            answers = np.asarray(fitted.predict(table[fold == one]), dtype=np.float64)
        else:
            place = [fitted.classes_.tolist().index(value) for value in problem.classes]
            answers = fitted.predict_proba(table[fold == one])[:, place]
        lost[fold == one] = losses(problem.task, problem.truth(rows), answers)
    return lost[history.start :]


if __name__ == "__main__":
    main(sys.argv[1:])
