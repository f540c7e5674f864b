"""Guards at work: what the schema guard flags, clips and refuses, and what becomes of scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.bundles import Bundle, Manifest
from everloop.errors import BundleError, RequestError
from everloop.inference.guards import Described, GraphGuard, Guards, RefusedError, SchemaGuard, score_of
from everloop.types import Column

INPUTS = (
    Column("hour", "float64"),
    Column("count", "int64"),
    Column("member", "bool"),
    Column("city", "string", kind="categorical", categories=("Bonn", "Oslo")),
)
RANGES = {"hour": (0.0, 23.0), "count": (1.0, 9.0)}


def schema_guard(policy: Any, gapless: tuple[str, ...] = ("hour",)) -> Guards:
    return Guards(Described(schema=SchemaGuard(policy, RANGES, gapless)), INPUTS)


def graph_guard(name: str = "outlier", policy: Any = "flag", threshold: float = 2.0) -> GraphGuard:
    return GraphGuard(name, policy, threshold, 0.01, 500, "a method", "a source")


def columns(hours: list[float], counts: list[int] | None = None) -> dict[str, Any]:
    rows = len(hours)
    return {
        "hour": np.array(hours, dtype=np.float64),
        "count": np.array(counts or [5] * rows, dtype=np.int64),
        "member": np.ones(rows, dtype=np.bool_),
        "city": np.array(["Bonn"] * rows, dtype=object),
    }


def bundle(files: dict[str, bytes]) -> Bundle:
    manifest = Manifest(name="m", task="regression", inputs=INPUTS, outputs=(), run="r", data_version="d", created=0.0)
    return Bundle(Path("bundles/v1"), manifest, "key", files)


def test_a_bundle_without_guards_finds_nothing() -> None:
    guards, asked = Guards.load(bundle({})), columns([99.0])
    assert guards.check(asked) == (asked, {})
    assert guards.take({"prediction": np.zeros(1)}) == {}
    assert (guards.names, guards.outputs, guards.graph) == ((), (), "model.onnx")


@pytest.mark.parametrize("hours", [[0.0], [23.0], [7.5, 0.0, 23.0]])
@pytest.mark.parametrize("policy", ["flag", "clip", "reject"])
def test_usual_rows_pass_untouched(policy: Any, hours: list[float]) -> None:
    asked = columns(hours)
    answered, flags = schema_guard(policy).check(asked)
    assert answered is asked
    assert flags == {}


def test_flagged_rows_are_answered_as_they_are() -> None:
    asked = columns([1.0, 24.0, -1.0], [5, 0, 5])
    answered, flags = schema_guard("flag").check(asked)
    assert answered is asked
    assert flags == {"schema": {"hour": [1, 2], "count": [1]}}


def test_clipped_rows_are_answered_with_the_nearest_usual_value() -> None:
    asked = columns([1.0, 24.0, np.nan], [5, 0, 12])
    answered, flags = schema_guard("clip").check(asked)
    assert answered["hour"][:2].tolist() == [1.0, 23.0]
    assert np.isnan(answered["hour"][2])
    assert answered["count"].tolist() == [5, 1, 9]
    assert {name: values.dtype for name, values in answered.items()} == {n: v.dtype for n, v in asked.items()}
    assert flags == {"schema": {"hour": [2]}, "clipped": {"hour": [1], "count": [1, 2]}}
    assert asked["hour"][1] == 24.0, "the journal keeps what was sent"


def test_clip_alone_neither_flags_nor_refuses() -> None:
    asked = columns([24.0])
    assert schema_guard("clip").clip(asked)["hour"].tolist() == [23.0]
    assert schema_guard("reject").clip(asked) is asked
    assert Guards().clip(asked) is asked


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (columns([1.0, 24.5]), "column 'hour', row 1: 24.5 lies outside 0 to 23, what training saw: correct it"),
        (columns([1.0], [10]), "column 'count', row 0: 10 lies outside 1 to 9, what training saw: correct it"),
        (columns([np.nan]), "column 'hour', row 0 is missing, which training never saw: send its value"),
        (columns([np.inf]), "column 'hour', row 0: inf lies outside 0 to 23, what training saw: correct it"),
    ],
)
def test_a_refusal_names_column_row_and_value(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        schema_guard("reject").check(asked)
    assert (str(refused.value), refused.value.guard) == (told, "schema")
    assert isinstance(refused.value, RequestError)
    assert refused.value.http_status == 400


def test_a_missing_number_is_usual_where_training_saw_one() -> None:
    assert schema_guard("reject", gapless=()).check(columns([np.nan, 1.0]))[1] == {}
    assert schema_guard("reject", gapless=()).check(columns([np.nan]))[1] == {}
    assert schema_guard("flag").check(columns([np.nan, 1.0]))[1] == {"schema": {"hour": [0]}}


def test_unknown_categories_are_refused_only_by_reject() -> None:
    asked = columns([1.0, 2.0])
    asked["city"] = np.array(["Bonn", "Rome"], dtype=object)
    assert schema_guard("flag").check(asked, {"city": ["Rome"]})[1] == {}
    with pytest.raises(RefusedError, match="column 'city', row 1: 'Rome' is no category that training saw"):
        schema_guard("reject").check(asked, {"city": ["Rome"]})


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.floats(allow_infinity=False) | st.just(float("nan")), st.integers(-20, 20)), min_size=1, max_size=6
    )
)
def test_one_row_at_a_time_finds_what_all_rows_together_do(rows: list[tuple[float, int]]) -> None:
    guards, asked = schema_guard("clip"), columns([h for h, _ in rows], [c for _, c in rows])
    answered, flags = guards.check(asked)
    together: dict[str, dict[str, list[int]]] = {}
    for row in range(len(rows)):
        one, found = guards.check({name: values[row : row + 1] for name, values in asked.items()})
        for name, values in one.items():
            np.testing.assert_array_equal(values, answered[name][row : row + 1])
        for key, by_column in found.items():
            for name in by_column:
                together.setdefault(key, {}).setdefault(name, []).append(row)
    assert together == flags
    for name, (low, high) in RANGES.items():
        known = answered[name][~np.isnan(answered[name])]
        assert ((known >= low) & (known <= high)).all()


def test_scores_above_the_threshold_are_flagged_and_leave_the_answer() -> None:
    guards = Guards(Described(graphs=(graph_guard(), graph_guard("adversarial", threshold=0.5))), INPUTS)
    found = {
        "prediction": np.array([1.0, 2.0, 3.0]),
        score_of("outlier"): np.array([2.0, 2.1, np.inf]),
        score_of("adversarial"): np.array([0.1, 0.2, 0.3]),
    }
    assert guards.take(found) == {"outlier": {"rows": [1, 2], "scores": [2.1, np.inf]}}
    assert list(found) == ["prediction"]


@pytest.mark.parametrize(("score", "flagged"), [(2.0, False), (2.0001, True), (np.nan, True)])
def test_one_score_is_held_against_the_threshold(score: float, flagged: bool) -> None:
    guards = Guards(Described(graphs=(graph_guard(),)), INPUTS)
    assert ("outlier" in guards.take({score_of("outlier"): np.array([score])})) is flagged


def test_a_rejecting_graph_refuses_the_row() -> None:
    guards = Guards(Described(graphs=(graph_guard(policy="reject"),)), INPUTS)
    assert guards.take({score_of("outlier"): np.array([1.0, 1.0])}) == {}
    with pytest.raises(RefusedError, match=r"row 1 lies further .* \(score 7.5, up to 2 is usual\)") as refused:
        guards.take({score_of("outlier"): np.array([1.0, 7.5])})
    assert refused.value.guard == "outlier"


def test_guards_are_read_from_their_bundle() -> None:
    described = Described(schema=SchemaGuard("flag", RANGES), graphs=(graph_guard(),))
    guards = Guards.load(bundle({"guards.json": msgspec.json.encode(described)}))
    assert guards.described == described
    assert (guards.names, guards.graph) == (("schema", "outlier"), "guarded.onnx")
    assert guards.outputs == ("everloop_guard_outlier",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "cannot be read"),
        (b'{"format": 2}', "has format 2"),
        (b'{"schema": {"policy": "perhaps", "ranges": {}}}', "cannot be read"),
        (b'{"schema": {"policy": "flag", "ranges": {"wind": [0, 1]}}}', "guards 'wind', no column of the model"),
    ],
)
def test_a_wrong_description_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(BundleError, match=told):
        Guards.load(bundle({"guards.json": text}))
