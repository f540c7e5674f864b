"""Late labels: each row once, in prediction-time order, up to a watermark of coverage; a restart changes nothing."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.monitoring import JoinState, LabelJoin


def test_rows_come_in_prediction_order_as_soon_as_their_labels_cover_enough() -> None:
    join = LabelJoin(coverage=1.0)
    for n in range(4):
        join.predicted((f"p{n}", 0), float(n), n)
    assert join.labelled(("p1", 0), 10, 5.0)
    assert join.release() == []
    assert join.labelled(("p0", 0), 11, 6.0)
    assert [row.payload for row in join.release()] == [0, 1]
    assert join.release() == []


def test_a_label_counts_once_and_an_unknown_one_is_counted_apart() -> None:
    join = LabelJoin(coverage=0.5)
    join.predicted(("a", 0), 1.0, None)
    assert join.labelled(("a", 0), 1, 2.0)
    assert not join.labelled(("a", 0), 2, 3.0)
    assert not join.labelled(("b", 0), 1, 2.0)
    assert [row.value for row in join.release()] == [1]
    assert join.state.unmatched == 1


def test_rows_without_labels_are_passed_over_once_coverage_allows() -> None:
    join = LabelJoin(coverage=0.5)
    for n in range(4):
        join.predicted((str(n), 0), float(n), n)
    join.labelled(("1", 0), "x", 9.0)
    join.labelled(("3", 0), "x", 9.0)
    assert [row.payload for row in join.release()] == [1, 3]
    assert join.label_coverage == 0.5
    assert not join.labelled(("0", 0), "late", 10.0)


EVENTS = st.lists(st.tuples(st.integers(0, 12), st.floats(0, 100)), max_size=40)


@given(EVENTS, st.permutations(list(range(12))), st.floats(0.1, 1.0), st.integers(0, 12))
@settings(max_examples=80)
def test_any_order_of_labels_gives_each_row_at_most_once_in_order_and_survives_a_restart(
    predictions: list[tuple[int, float]], labels: list[int], coverage: float, cut: int
) -> None:
    join, seen = LabelJoin(coverage), []
    for n, time in predictions:
        join.predicted((str(n), 0), time, n)
    for position, n in enumerate(labels):
        if position == cut:  # a restart: only the state survives
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(join.state), type=JoinState)
            join = LabelJoin(coverage, state)
        join.labelled((str(n), 0), n, 200.0)
        seen += join.release()
    assert [row.time for row in seen] == sorted(row.time for row in seen)
    assert len({row.key for row in seen}) == len(seen)
