"""Why a step was computed: the part of its key that changed, named."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.pipelines.test_cache import cached, looking

from everloop.pipelines import Engine, explain
from everloop.pipelines.explained import UNCHANGED, changed
from everloop.store import Store


def reasons(store: Store, run: str) -> list[tuple[str, bool, str]]:
    return [(one.step, one.hit, one.why) for one in explain(store, run)]


def test_each_step_says_why(engine: Engine, store: Store, tmp_path: Path) -> None:
    never = "it was never computed before"
    engine.run(cached, {"size": 3}, run_id="a")
    assert reasons(store, "a") == [("grow", False, never), ("total", False, never)]
    engine.run(cached, {"size": 3}, run_id="b")
    assert reasons(store, "b") == [("grow", True, "the same as in run a"), ("total", True, "the same as in run a")]
    engine.run(cached, {"size": 5, "most": 4}, run_id="c")
    assert reasons(store, "c") == [
        ("grow", False, "parameter most changed; parameter size changed"),
        ("total", False, "input numbers changed"),
    ]
    shutil.rmtree(tmp_path / "artifacts")
    (tmp_path / "artifacts").mkdir()
    engine.run(cached, {"size": 5, "most": 4}, run_id="d")
    assert reasons(store, "d") == [("grow", False, UNCHANGED), ("total", False, UNCHANGED)]
    assert explain(store, "no such run") == []


def test_a_step_that_looks_outside_says_so(engine: Engine, store: Store) -> None:
    for run in ("a", "b"):
        engine.run(looking, {"size": 3}, run_id=run)
    assert reasons(store, "b") == [("look", False, UNCHANGED), ("total", True, "the same as in run a")]


def test_every_part_of_a_key_is_told() -> None:
    before = {
        "step": "a:f", "code": {"a": "1", "gone": "2"}, "parameters": {"ask": {"seed": 1, "window": "all"}, "n": 3},
        "environment": {"numpy": "2.1"}, "inputs": {"rows": "x"},
    }  # fmt: skip
    after = {
        "step": "a:g", "code": {"a": "2", "helper": "3"}, "parameters": {"ask": {"seed": 2, "window": "all"}, "n": 4},
        "environment": {"numpy": "2.2"}, "inputs": {"rows": "y"},
    }  # fmt: skip
    assert changed(before, after) == [
        "step a:f is now a:g", "code of a changed", "code of gone is gone", "code of helper is new",
        "parameter ask differs in seed", "parameter n changed", "version of numpy is 2.2, was 2.1",
        "input rows changed",
    ]  # fmt: skip
    assert changed(before, before) == []
