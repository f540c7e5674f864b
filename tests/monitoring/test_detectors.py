"""Every detector keeps the same contract, found by walking the package; each finds what it is there for."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.monitoring.worlds import COLUMNS, DAY, NUMBERS, mixed, numbers, reference, window

from everloop import monitoring
from everloop.evaluation import score
from everloop.monitoring import Cut, Detector, MeanDetector, Window, labelled, unlabelled
from everloop.types import Signal, Task

TASKS: tuple[Task, ...] = ("regression", "classification")


def suite(task: Task = "regression") -> list[Detector]:
    known = reference(mixed(np.random.default_rng(1), 30 * 24, task), COLUMNS, task, 30)
    which = "rmse" if task == "regression" else "log_loss"

    def metric(truth: Any, answers: Any) -> dict[str, float]:
        return score(task, truth, answers)

    return [*unlabelled(known, Cut()), *labelled(known, Cut(), which, metric)]


def traffic(rows: int, seed: int, task: Task = "regression", *, last: bool = False) -> Window:
    batch = window(mixed(np.random.default_rng(seed), rows, task), 40, last=last)
    truth = np.zeros(rows) if task == "classification" else np.arange(rows, dtype=np.float64)
    return msgspec.structs.replace(batch, truth=truth, losses=np.ones(rows), coverage=1.0)


def test_the_suites_hold_every_detector_of_the_package() -> None:
    modules = [
        importlib.import_module(m.name) for m in pkgutil.walk_packages(monitoring.__path__, "everloop.monitoring.")
    ]
    found = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__
        and all(hasattr(kind, name) for name in ("update", "state", "restore", "merge"))
    } - {Detector, MeanDetector}
    assert {type(detector) for task in TASKS for detector in suite(task)} == found
    assert all(isinstance(detector, Detector) for detector in suite())
    assert len({detector.name for detector in suite()}) == len(suite())


@pytest.mark.parametrize("task", TASKS)
def test_a_state_is_json_and_goes_on_where_it_was(task: Task) -> None:
    first, second = suite(task), suite(task)
    for one, other in zip(first, second, strict=True):
        one.update(traffic(40, 2, task))
        other.restore(json.loads(json.dumps(one.state())))
        for seed, last in ((3, False), (4, True), (5, True)):
            batch = traffic(30, seed, task, last=last)
            told, same = one.update(batch), other.update(batch)
            assert plain(told) == plain(same), one.name
            if last and not one.name.startswith(("freshness", "explanation_drift")):
                assert told is not None, one.name
        assert one.state() == other.state()


def plain(signal: Signal | None) -> Any:
    return None if signal is None else json.loads(msgspec.json.encode(signal))


@settings(max_examples=3)
@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 1000))
def test_what_two_workers_saw_merges_to_what_one_would_have_seen(left: int, right: int, seed: int) -> None:
    known = mixed(np.random.default_rng(seed), left + right)
    explained = known.pop("explained")
    for one, other, both in zip(suite(), suite(), suite(), strict=True):
        one.update(msgspec.structs.replace(window(known, 40, slice(0, left), last=False), explained=explained))
        if right:
            other.update(window(known, 40, slice(left, None), last=False))
        both.update(msgspec.structs.replace(window(known, 40, last=False), explained=explained))
        one.merge(other)
        assert_alike(one.state(), both.state())


def assert_alike(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_alike(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_alike(left, right)
    else:
        assert one == pytest.approx(other, nan_ok=True)


def change_a(fields: dict[str, Any], _: np.random.Generator) -> None:
    fields["columns"]["a"] = fields["columns"]["a"] * 3


def change_city(fields: dict[str, Any], rng: np.random.Generator) -> None:
    fields["columns"]["city"] = ["Atlantis" if rng.uniform() < 0.3 else c for c in fields["columns"]["city"]]


def change_note(fields: dict[str, Any], _: np.random.Generator) -> None:
    fields["columns"]["note"] = ["REFUND NOW!!"] * len(fields["columns"]["note"])


def change_photo(fields: dict[str, Any], _: np.random.Generator) -> None:
    fields["columns"]["photo"] = fields["columns"]["photo"] * 0.5


def change_gaps(fields: dict[str, Any], rng: np.random.Generator) -> None:
    column = fields["columns"]["a"]
    fields["columns"]["a"] = np.where(rng.uniform(size=len(column)) < 0.5, np.nan, column)


def change_answers(fields: dict[str, Any], _: np.random.Generator) -> None:
    fields["answers"] = fields["answers"] + 2


def change_flags(fields: dict[str, Any], rng: np.random.Generator) -> None:
    fields["flags"] = {name: rng.uniform(size=len(found)) < 0.4 for name, found in fields["flags"].items()}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (change_a, {"data_drift:a"}),
        (change_city, {"data_drift:city"}),
        (change_note, {"data_drift:note"}),
        (change_photo, {"data_drift:photo"}),
        (change_gaps, {"missing:a"}),
        (change_answers, {"prediction_drift"}),
        (change_flags, {"outliers", "adversarial", "out_of_range"}),
    ],
)
def test_each_change_is_found_by_its_detector_and_others_stay_calm(
    change: Callable[[dict[str, Any], np.random.Generator], None], names: set[str]
) -> None:
    rng, detectors = np.random.default_rng(7), suite()
    rang: set[str] = set()
    for day in range(30, 50):
        fields = mixed(rng, 100)
        del fields["explained"]
        if day >= 40:
            change(fields, rng)
        told = [d.update(window(fields, day)) for d in detectors]
        firing = {signal.name for signal in told if signal and signal.firing}
        assert not firing or day >= 40
        rang |= firing
    assert names <= rang
    assert not {n for n in rang - names if n.startswith(("data_drift:", "missing:")) and change is not change_gaps}


def test_only_the_joint_test_sees_that_two_columns_no_longer_go_together() -> None:
    rng = np.random.default_rng(8)
    columns = NUMBERS[:2]

    def days(count: int, sign: float) -> dict[str, Any]:
        x = rng.normal(size=count * 200)
        y = sign * x + 0.3 * rng.normal(size=len(x))
        return {"columns": {"x0": x, "x1": y}, "answers": rng.normal(size=(len(x), 1)), "flags": {}}

    detectors = unlabelled(reference(days(40, 1.0), columns, "regression", 40), Cut())
    rang: set[str] = set()
    for day in range(40, 50):
        told = [d.update(window(days(1, -1.0), day)) for d in detectors]
        rang |= {signal.name for signal in told if signal and signal.firing}
    assert "data_drift" in rang
    assert not rang & {"data_drift:x0", "data_drift:x1"}


def test_evidence_shows_both_histograms() -> None:
    rng = np.random.default_rng(9)
    known = reference(numbers(rng, 40), NUMBERS, "regression", 40)
    detector = next(d for d in unlabelled(known, Cut()) if d.name == "data_drift:x0")
    fields = numbers(rng, 1)
    fields["columns"]["x0"] = fields["columns"]["x0"] + 5
    told = detector.update(window(fields, 40))
    assert told is not None
    shown = told.evidence["histogram"]
    assert len(shown["reference"]) == len(shown["window"]) == len(shown["bins"]) + 1
    assert sum(shown["reference"]) == pytest.approx(1.0, abs=1e-3)
    assert shown["window"][-1] > 0.9
    assert told.evidence["mean"] == pytest.approx(5, abs=1)
    assert told.evidence["usual"] == pytest.approx(0, abs=0.2)
    assert told.evidence["distance"] > 0.8
    assert told.evidence["psi"] > 1


@pytest.mark.parametrize("length", [DAY, 3600.0])
def test_a_season_of_the_reference_is_no_drift(length: float) -> None:
    rng = np.random.default_rng(10)

    def days(first: int, count: int) -> dict[str, Any]:
        t = (first + np.arange(count * 24 * 20) / (24 * 20)) * DAY
        x = 3 * np.sin(2 * np.pi * t / DAY) + 2 * (t // DAY % 7 >= 5) + rng.normal(size=len(t))
        return {"columns": {"x0": x}, "answers": rng.normal(size=(len(t), 1)), "flags": {}}

    known = reference(days(0, 35), NUMBERS[:1], "regression", 35)
    detector = next(d for d in unlabelled(known, Cut(length=length)) if d.name == "data_drift:x0")
    fired, seasonal, away = 0, [], []
    for day in range(35, 38 if length < DAY else 45):
        fields, parts = days(day, 1), int(DAY // length)
        for part in range(parts):
            rows = slice(part * 480 // parts, (part + 1) * 480 // parts)
            batch = msgspec.structs.replace(window(fields, day, rows), start=day * DAY + part * length)
            told = detector.update(batch)
            assert told is not None
            fired += told.firing
            seasonal.append(told.evidence["season"])
            away.append(abs(told.evidence["mean"] - told.evidence["usual"]))
    assert np.mean(away) < 0.6  # the usual mean is that of the season: days differ by 2, hours by 6
    assert fired == 0
    assert all(seasonal)


def test_freshness_tells_the_age_of_predictions_and_labels() -> None:
    detector = next(d for d in suite() if d.name == "freshness")
    assert detector.update(Window(0, 0)) is None
    detector.update(Window(0, DAY, rows=1, newest=100.0, labelled=50.0))
    fresh, stale = detector.update(Window(200, 200)), detector.update(Window(2 * DAY, 2 * DAY))
    assert fresh is not None
    assert stale is not None
    assert (fresh.value, fresh.firing, fresh.evidence["label_age"]) == (100.0, False, 150.0)
    assert stale.firing


def test_explanations_that_change_are_told() -> None:
    detector = next(d for d in suite() if d.name == "explanation_drift:a")
    rng = np.random.default_rng(11)
    fired = []
    for day in range(100):
        scale = 10.0 if day >= 80 else 1.0
        told = detector.update(Window(day, day + 1, last=True, explained={"a": rng.normal(0, scale, 50)}))
        assert told is not None
        fired.append(told.firing)
    assert not any(fired[:80])
    assert any(fired[80:])


def test_a_loss_that_rises_is_estimated_without_labels_where_inputs_tell() -> None:
    rng = np.random.default_rng(12)
    for task in TASKS:
        x = rng.normal(size=(40 * 100, 12))
        chance = 1 / (1 + np.exp(-3 * x[:, 0]))
        answers = x[:, :1] if task == "regression" else np.stack([1 - chance, chance], 1)
        losses = (
            (0.2 + np.abs(x[:, 0])) * rng.exponential(size=len(x))
            if task == "regression"
            else -np.log(np.where(rng.uniform(size=len(x)) < chance, chance, 1 - chance))
        )
        fields = {"columns": {c.name: x[:, i] for i, c in enumerate(NUMBERS)}, "answers": answers, "flags": {}}
        known = msgspec.structs.replace(reference(fields, NUMBERS, task, 40), losses=losses)
        detector = next(d for d in unlabelled(known, Cut()) if d.name == "estimated_loss")
        hard = x[:100].copy()
        hard[:, 0] = 2.5 if task == "regression" else 0.0
        said = np.stack([np.full(100, 0.5)] * 2, 1) if task == "classification" else hard[:, :1]
        values = {c.name: hard[:, i] for i, c in enumerate(NUMBERS)}
        told = detector.update(window({"columns": values, "answers": said, "flags": {}}, 41))
        assert told is not None
        expected = 2.7 if task == "regression" else np.log(2)
        assert told.evidence["loss"] == pytest.approx(expected, rel=0.3)
        assert told.evidence["usual"] == pytest.approx(losses.mean(), rel=0.1)
