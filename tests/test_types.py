"""Ids sort by event time; times read and show as RFC 3339."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from everloop.types import new_id, parse_time, show_time

TIMES = st.floats(min_value=0, max_value=4e9)


@given(TIMES, st.binary(min_size=10, max_size=10))
def test_an_id_is_a_uuid_of_version_7_that_holds_its_time(time: float, random: bytes) -> None:
    parsed = uuid.UUID(new_id(time, random))
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == int(time * 1000)


@given(TIMES, TIMES)
def test_ids_sort_by_time(a: float, b: float) -> None:
    if int(a * 1000) < int(b * 1000):
        assert new_id(a) < new_id(b)


def test_times_round_trip() -> None:
    assert parse_time("2012-01-02T21:00:00Z") == parse_time("2012-01-02T22:00:00+01:00") == 1325538000.0
    assert parse_time("2012-01-02 21:00:00") == 1325538000.0
    assert show_time(1325538000.0) == "2012-01-02T21:00:00Z"
    assert parse_time(show_time(1325538000.25)) == 1325538000.25
