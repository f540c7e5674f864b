from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.monitoring import Cutter, RealisedWindows, Window


def rows(times: list[float]) -> tuple[Window, np.ndarray]:
    batch = Window(0, 0, rows=len(times), columns={"x": np.arange(float(len(times)))}, newest=max(times))
    return batch, np.asarray(times)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 500), min_size=1, max_size=40), st.integers(1, 39), st.sampled_from([0, 7]))
def test_windows_are_the_same_however_the_traffic_comes_in_batches(times: list[float], at: int, count: int) -> None:
    times = sorted(times)
    whole, parts = Cutter(100.0, count), Cutter(100.0, count)
    found = whole.cut(*rows(times))
    pieces = [piece for piece in (times[:at], times[at:]) if piece]
    same = [part for piece in pieces for part in parts.cut(*rows(piece))]
    assert sum(w.rows for w in found) == len(times)
    assert [(w.start, w.end) for w in found if w.last] == [(w.start, w.end) for w in same if w.last]
    assert (whole.start, whole.rows) == (parts.start, parts.rows)


def test_windows_by_time_close_when_a_row_lies_behind_them_or_time_has_passed() -> None:
    cutter = Cutter(100.0)
    found = cutter.cut(*rows([10, 20, 130, 310]))
    assert [(w.start, w.rows, w.last) for w in found] == [
        (0, 2, False), (0, 0, True), (100, 1, False), (100, 0, True), (300, 1, False),
    ]  # fmt: skip
    assert found[2].columns["x"].tolist() == [2.0]
    assert cutter.close(399.0) is None
    closed = cutter.close(400.0)
    assert closed is not None
    assert (closed.start, closed.end, closed.last) == (300, 400, True)


def test_windows_by_count_hold_so_many_rows() -> None:
    cutter = Cutter(0.0, 3)
    assert [(w.rows, w.last) for w in cutter.cut(*rows([1, 2, 3, 4, 5, 6, 7]))] == [
        (3, False), (0, True), (3, False), (0, True), (1, False),
    ]  # fmt: skip
    assert cutter.close(1e9) is None


def test_late_labels_close_a_window_once_and_tell_their_coverage() -> None:
    realised = RealisedWindows(10.0, 0.5)
    for place in range(20):
        realised.predicted([(f"{place:06x}", float(place), [1.0])])
    for place in (3, 1, 0, 1, 2, 4, 5):
        realised.labelled(f"{place:06x}", 0, 9.0)
    assert realised.closed(20.0) == []  # more may come of the first window
    for place in range(10, 20):
        realised.labelled(f"{place:06x}", 0, 9.0)
    found = realised.closed(20.0)
    assert [(w.start, w.coverage, len(truth)) for w, truth, _ in found] == [(0, 0.6, 6), (10, 1.0, 10)]
    realised.labelled("000006", 0, 9.0)
    realised.labelled("ffffff", 0, 9.0)
    assert realised.state.unmatched == 3  # sent twice, too late, unknown
    assert realised.closed(99.0) == []
    assert realised.state.waiting == {}


def test_a_window_with_too_few_labels_is_left_out() -> None:
    realised = RealisedWindows(10.0, 0.5)
    for place in range(20):
        realised.predicted([(f"{place:06x}", float(place), [1.0])])
    for place in (1, 2, *range(10, 20)):
        realised.labelled(f"{place:06x}", 0, 9.0)
    assert [w.start for w, _, _ in realised.closed(20.0)] == [10]


def test_much_traffic_is_sampled_alike_by_every_worker() -> None:
    rng = np.random.default_rng(0)
    ids = [f"{rng.integers(1 << 24):06x}" for _ in range(3000)]
    one, other = (RealisedWindows(1e9, 0.5, most=100) for _ in range(2))
    for id in ids:
        one.predicted([(id, 1.0, [1.0])])
    for id in ids[::-1]:
        other.predicted([(id, 1.0, [1.0])])
    assert len(one.state.waiting) <= 100
    share = one.state.share
    assert share == pytest.approx(100 / 3000, rel=0.6)
    assert {i for i in ids if int(i, 16) < share * (1 << 24)} == set(one.state.waiting)
    assert set(one.state.waiting) & set(other.state.waiting)
    assert one.state.open[0].predicted == len(one.state.waiting)
