from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.sites import rides_plan

from everloop.errors import RequestError
from everloop.serving.router import Route, Router

weights = st.floats(0.0, 1.0)
keys = st.text(max_size=20)


@given(weight=st.floats(0.02, 0.98), seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_shares_converge(weight: float, seed: int) -> None:
    router = Router(rides_plan(1, weight))
    rows = 4000
    tolerance = 5 * (weight * (1 - weight) / rows) ** 0.5
    drawn = sum(router.route(None, f"{seed}-id-{i}", 1.0).variant == "candidate" for i in range(rows)) / rows
    keyed = sum(router.route(f"{seed}-{i}", "", 1.0).variant == "candidate" for i in range(rows)) / rows
    assert abs(drawn - weight) < tolerance
    assert abs(keyed - weight) < tolerance


@given(key=keys, weight=weights, ids=st.tuples(keys, keys))
def test_a_key_stays_with_its_version(key: str, weight: float, ids: tuple[str, str]) -> None:
    first = Router(rides_plan(1, weight)).route(key, ids[0], 1.0)
    assert Router(rides_plan(9, weight)).route(key, ids[1], 99.0) == first


@given(id=keys, weight=weights)
def test_a_request_sent_again_is_answered_by_the_same_version(id: str, weight: float) -> None:
    assert Router(rides_plan(1, weight)).route(None, id, 1.0) == Router(rides_plan(9, weight)).route(None, id, 9.0)


@given(key=keys, low=weights, high=weights)
def test_raising_the_weight_never_moves_a_key_back(key: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    before = Router(rides_plan(1, low)).route(key, "", 1.0)
    after = Router(rides_plan(2, high)).route(key, "", 1.0)
    assert (before.variant, after.variant) != ("candidate", "champion")


@given(key=st.none() | keys, weight=weights, time=st.floats(0, 200), since=st.floats(0, 200), id=keys)
def test_the_propensity_is_the_plans(key: str | None, weight: float, time: float, since: float, id: str) -> None:
    route = Router(rides_plan(1, weight, since=since)).route(key, id, time)
    share = {"champion": 1.0 - weight, "candidate": weight}[route.variant]
    assert route.propensity == pytest.approx(1.0 if route.why in ("early", "only") else share)
    assert route.propensity > 0
    if time < since:
        assert route.variant == "champion"


def test_a_candidate_takes_no_part_before_its_time() -> None:
    router = Router(rides_plan(1, 1.0, since=100.0))
    assert router.route("anna", "", 99.9) == Route("v1", "champion", 1.0, "early")
    assert router.route("anna", "", 100.0) == Route("v2", "candidate", 1.0, "key")


def test_a_shadowed_candidate_answers_nothing() -> None:
    assert Router(rides_plan(1, 0.0)).route(None, "", 1.0) == Route("v1", "champion", 1.0, "only")


def test_an_override_names_the_version() -> None:
    router = Router(rides_plan(1, 0.0))
    assert router.route("anna", "", 1.0, "v2") == Route("v2", "candidate", 1.0, "override")
    with pytest.raises(RequestError, match=r"version 'v3' is not in the plan: v1, v2"):
        router.route(None, "", 1.0, "v3")


def test_the_next_candidate_draws_its_keys_afresh() -> None:
    first, second = Router(rides_plan(1, 0.1)), Router(rides_plan(2, 0.1, champion="v2"))
    chosen = [
        {k for k in range(2000) if router.route(str(k), "", 1.0).variant == "candidate"} for router in (first, second)
    ]
    assert len(chosen[0] & chosen[1]) < 60
