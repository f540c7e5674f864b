from __future__ import annotations

from collections.abc import Iterator

import pytest

from everloop import registry
from everloop.checks import Verdict
from everloop.loop.records import record_decision, record_rollout
from everloop.loop.story import Line, Story
from everloop.rollouts import RolloutRules, begin
from everloop.store import Store
from everloop.types import Decision


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store("sqlite://")
    yield store
    store.close()


def test_each_event_is_told_once_in_a_sentence(store: Store) -> None:
    story, passed = Story(store), Verdict("gate", "pass", "rmse 3 is within bounds")
    with store.begin() as connection:
        record_decision(connection, Decision(5.0, "retrain", "there is no model yet"), status="open", run="r")
        registry.register(
            connection, model="toy", bundle="b", sha256="1", run="r", data_version="data-1",
            window={"name": "everything"}, metrics={}, commit=None, verdict=passed, time=6.0,
        )  # fmt: skip
        registry.set_alias(connection, "toy", "champion", "v1", passed, 7.0)
        record_rollout(connection, begin("v1", "v2", 8.0, RolloutRules()), 8.0, decision="d-1")
    assert story.news() == [
        Line(5.0, "decision", "d-1 retrain: there is no model yet"),
        Line(6.0, "gate", "v1 (everything) passes: rmse 3 is within bounds"),
        Line(7.0, "rollout", "v1 serves"),
        Line(8.0, "rollout", "v2 canary: 10% of the traffic, judged on paired labels"),
    ]
    assert story.news() == []
