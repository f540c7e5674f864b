from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.projects import write_project

from everloop.loop.developing import ask_of
from everloop.loop.retraining import problem_of
from everloop.loop.workspace import Workspace
from everloop.replay.history import History, load_history
from everloop.replay.schedules import WEEK, Calendar, Schedules
from everloop.settings import Replay, load
from everloop.training import EVERYTHING, Recipe


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = write_project(tmp_path_factory.mktemp("toy") / "project")
    return load_history(folder, load(folder))


@pytest.fixture
def schedules(history: History, tmp_path: Path) -> Schedules:
    folder = write_project(tmp_path / "project")
    workspace = Workspace(folder, load(folder))
    problem = problem_of(history.schema, ask_of(workspace.settings, workspace.folder, first=False), workspace.folder)
    workspace.close()
    return Schedules(problem, history, Replay(start=0.4))


def test_a_calendar_has_a_phase() -> None:
    assert Calendar.every(10.0, 0.0, 35.0).times == (10.0, 20.0, 30.0)
    assert Calendar.every(10.0, 0.0, 35.0, 0.5).times == (5.0, 15.0, 25.0)


def test_each_row_is_scored_once(schedules: Schedules, history: History) -> None:
    start, end = float(history.live_times[0]), float(history.live_times[-1])
    for calendar in (Calendar(()), Calendar.every(WEEK, start, end), Calendar((end - 60.0,))):
        scored = schedules.score(calendar, EVERYTHING, lambda: None)
        assert len(scored.losses) == len(history.live)
        assert not np.isnan(scored.losses).any()
        assert scored.retrainings == len(calendar.times)


def test_a_schedule_knows_only_labels_that_had_arrived(schedules: Schedules, history: History) -> None:
    """Trained on the newest day's rows, it can know the change a day after the first changed label, not before."""
    changed = float(history.times[0]) + 45 * 86400.0
    newest = Recipe("newest 12 rows", ("rows",), 12)
    for day, better in ((1.0, False), (3.0, True)):
        once = schedules.score(Calendar((changed + day * 86400.0,)), newest, lambda: None)
        frozen = schedules.score(Calendar(()), EVERYTHING, lambda: None)
        after = history.live_times > changed + 4 * 86400.0
        assert bool(once.losses[after].mean() < 0.5 * frozen.losses[after].mean()) is better


def test_the_best_window_is_found_in_hindsight(schedules: Schedules, history: History) -> None:
    calendar = Calendar.every(WEEK, float(history.live_times[0]), float(history.live_times[-1]))
    counted = []
    compared = schedules.compare([calendar], lambda: counted.append(1))
    assert len(counted) == schedules.fits([calendar])
    assert compared.best.losses.mean() < compared.everything.losses.mean()
    assert compared.window.startswith("newest ")
