from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import RequestError
from everloop.serving.clock import event_clock, wall_clock


def test_the_wall_has_its_own_time() -> None:
    assert wall_clock(None) > 1_700_000_000
    with pytest.raises(RequestError, match="leave 'time' out"):
        wall_clock(1.0)


def test_an_event_brings_its_time() -> None:
    assert event_clock("1970-01-02T00:00:00Z") == 86400.0
    assert event_clock("1970-01-01T01:00:00+01:00") == 0.0
    assert event_clock("1970-01-02") == 86400.0
    assert event_clock(12.5) == 12.5
    assert event_clock(12) == 12.0


@pytest.mark.parametrize(
    "given", [None, True, "soon", "", [], {}, -1.0, float("nan"), float("inf"), 10**30, "0001-01-01"]
)
def test_a_time_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(RequestError, match="time"):
        event_clock(given)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_whatever_comes_is_a_time_or_refused(given: object) -> None:
    try:
        moment = event_clock(given)
    except RequestError:
        return
    assert 0.0 <= moment < 1e12
