from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from tests.projects import history
from tests.serving.sites import write_bundle

from everloop.bundles import SigningKey, trusted
from everloop.data import Schema, infer
from everloop.inference import Model
from everloop.journal import Reader, Writer
from everloop.loop.watch import Scope, ScoredRow, Scorer, Watch, WatchState
from everloop.training import to_onnx
from everloop.training.estimators import with_cast
from everloop.types import Failure, Feedback, Plan, Prediction, Variant, new_id

ROWS = history(days=4)


@pytest.fixture(scope="module")
def schema() -> Schema:
    return infer(ROWS.assign(time=pd.to_datetime(ROWS["time"])), target="y", time="time", task="regression")


@pytest.fixture(scope="module")
def models(schema: Schema, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    from sklearn.linear_model import LinearRegression

    folder = tmp_path_factory.mktemp("bundles")
    key = SigningKey.create(folder / "keys")
    found = {}
    for version, offset in (("v1", 0.0), ("v2", 10.0)):
        fitted = with_cast(LinearRegression()).fit(ROWS[schema.names], ROWS["y"] + offset)
        graph = to_onnx(fitted, schema.inputs, schema.task)
        write_bundle(folder / version, key, "toy", graph, schema.inputs, run=version)
        found[version] = Model.load(folder / version, trusted(folder / "keys"))
    return found


class Traffic:
    """Writes predictions and labels of `ROWS` into a journal."""

    def __init__(self, folder: Path, models: dict[str, Model], schema: Schema) -> None:
        self.writer, self.models, self.schema = Writer(folder), models, schema

    def predict(self, row: int, version: str = "v1", **route: Any) -> str:
        inputs = {name: [float(ROWS[name].iloc[row])] for name in self.schema.names}
        outputs = self.models[version].predict_lists(inputs)
        id = new_id(1000.0 + row, bytes([row] * 10))
        payload = Prediction(model="toy", version=version, inputs=inputs, outputs=outputs, **route)
        self.append("prediction", id, 1000.0 + row, payload)
        return id

    def label(self, id: str, value: Any, time: float = 2000.0) -> None:
        self.append("feedback", id, time, Feedback(id, value, time))

    def append(self, kind: str, id: str, time: float, payload: msgspec.Struct) -> None:
        self.writer.append(kind, id, time, msgspec.json.encode(payload))
        self.writer.flush()


@pytest.fixture
def traffic(tmp_path: Path, models: dict[str, Model], schema: Schema) -> Iterator[Traffic]:
    traffic = Traffic(tmp_path / "journal", models, schema)
    yield traffic
    traffic.writer.close()


@pytest.fixture
def watch(tmp_path: Path, traffic: Traffic) -> Iterator[Watch]:
    watch = Watch(Reader(tmp_path / "journal"), 0.5, WatchState())
    yield watch
    watch.close()
    assert traffic.writer


def plan(since: float = 0.0) -> Plan:
    variants = (Variant("v1", "b1", "champion", 0.9), Variant("v2", "b2", "candidate", 0.1))
    return Plan(1, "toy", variants, since)


def test_each_version_is_scored_on_each_request(
    watch: Watch, traffic: Traffic, models: dict[str, Model], schema: Schema
) -> None:
    scorer = Scorer(schema)
    for row, version in enumerate(["v1", "v2", "v1"]):
        traffic.label(traffic.predict(row, version), float(ROWS["y"].iloc[row]))
    watch.read(plan(), models, scorer)
    scored = watch.release(scorer)
    assert [r.version for r in scored] == ["v1", "v2", "v1"]
    for one in scored:
        assert one.answers["v2"][0] - one.answers["v1"][0] == pytest.approx(10.0, abs=1e-3)
        assert one.losses["v1"] == pytest.approx((one.truth - one.answers["v1"][0]) ** 2)


def test_a_candidate_is_scored_from_its_start_on(
    watch: Watch, traffic: Traffic, models: dict[str, Model], schema: Schema
) -> None:
    scorer = Scorer(schema)
    for row in range(4):
        traffic.label(traffic.predict(row), 1.0)
    watch.read(plan(since=1002.0), models, scorer)
    assert [set(r.losses) for r in watch.release(scorer)] == [{"v1"}, {"v1"}, {"v1", "v2"}, {"v1", "v2"}]


def test_where_the_answer_changes_the_label_only_the_version_that_answered_is_scored(
    tmp_path: Path, traffic: Traffic, models: dict[str, Model], schema: Schema
) -> None:
    scorer = Scorer(schema)
    watch = Watch(Reader(tmp_path / "journal"), 0.5, WatchState(), scope=Scope(slices=("hour",), pairs=False))
    for row, version in enumerate(["v1", "v2"]):
        traffic.label(traffic.predict(row, version, why="key", key=f"key-{row}"), 1.0)
    watch.read(plan(), models, scorer)
    scored = watch.release(scorer)
    watch.close()
    assert [set(r.losses) for r in scored] == [{"v1"}, {"v2"}]
    assert [(r.key, r.values) for r in scored] == [("key-0", {"hour": "0"}), ("key-1", {"hour": "2"})]
    assert watch.state.compared.rows == 0


def test_drawn_answers_and_failures_are_counted_for_the_rollout_under_way(
    watch: Watch, traffic: Traffic, models: dict[str, Model], schema: Schema
) -> None:
    scorer = Scorer(schema)
    traffic.predict(0, "v1", why="override")
    for row in range(1, 5):
        flags = {"schema": {"a": [0]}} if row == 3 else {}
        traffic.predict(row, "v2" if row == 4 else "v1", propensity=0.1 if row == 4 else 0.9, flags=flags)
    for number, version in enumerate(["v1", "v2", "v2", "v9"]):
        traffic.append("failure", f"f-{number % 3}", 1010.0, Failure("toy", version, 500, propensity=0.1))
    traffic.append("failure", "early", 900.0, Failure("toy", "v2", 500, propensity=0.1))
    watch.read(plan(since=1000.0), models, scorer)
    seen = watch.exposure("v2", 1000.0)
    assert (seen.champion_requests, seen.candidate_requests) == (3, 1)
    assert (seen.champion_flagged, seen.candidate_flagged) == (1, 0)
    assert (seen.failures.champion, seen.failures.candidate) == (1, 2)
    assert watch.exposure("v2", 2000.0).champion_requests == 0  # another rollout of the same version


@pytest.mark.parametrize("wrong", ["many", True])
def test_a_label_that_is_no_number_is_counted_and_left_out(
    watch: Watch, traffic: Traffic, models: dict[str, Model], schema: Schema, wrong: Any
) -> None:
    scorer = Scorer(schema)
    good, bad = traffic.predict(0), traffic.predict(1)
    traffic.label(bad, wrong)
    traffic.label(good, 3.0)
    watch.read(plan(), models, scorer)
    assert [r.time for r in watch.release(scorer)] == [1000.0]
    assert watch.state.unusable == 1


def test_a_request_sent_again_counts_once_everywhere(
    watch: Watch, traffic: Traffic, models: dict[str, Model], schema: Schema
) -> None:
    scorer = Scorer(schema)
    for row in (0, 1, 1, 2, 0):
        traffic.label(traffic.predict(row), 1.0)
    watch.read(plan(), models, scorer)
    assert watch.state.traffic == {"v1": 3}
    assert [r.time for r in watch.release(scorer)] == [1000.0, 1001.0, 1002.0]


def test_a_restart_goes_on_where_the_state_was_stored(
    tmp_path: Path, traffic: Traffic, models: dict[str, Model], schema: Schema
) -> None:
    scorer, kept = Scorer(schema), 0
    released: list[ScoredRow] = []
    state = msgspec.msgpack.encode(WatchState())
    for row in range(6):
        traffic.label(traffic.predict(row), 1.0)
        watch = Watch(Reader(tmp_path / "journal"), 0.5, msgspec.msgpack.decode(state, type=WatchState))
        watch.read(plan(), models, scorer)
        released += watch.release(scorer)
        if row % 2:  # the others are lost in a crash, and read again
            state = msgspec.msgpack.encode(watch.state)
            kept = len(released)
        else:
            released = released[:kept]
        watch.close()
    assert [r.time for r in released] == [1000.0 + row for row in range(6)]


def test_classes_are_told_apart_and_unknown_ones_left_out() -> None:
    frame = history("classification", days=4)
    scorer = Scorer(infer(frame.assign(time=pd.to_datetime(frame["time"])), target="y", time="time"))
    assert [scorer.truth(v) for v in ("no", "yes", "maybe", 1)] == [0.0, 1.0, None, None]
    flags = frame.assign(time=pd.to_datetime(frame["time"]), y=(frame["y"] == "yes").astype(int))
    counted = Scorer(infer(flags, target="y", time="time"))
    assert [counted.truth(v) for v in (0, 1, "1", 1.0, 2)] == [0.0, 1.0, 1.0, 1.0, None]
    assert scorer.losses([1.0], [[0.25, 0.75]])[0] == pytest.approx(0.28768, abs=1e-4)
    assert list(itertools.chain(*scorer.answers({"probability": [[0.25, 0.75]]}))) == [0.25, 0.75]
