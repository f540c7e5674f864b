from __future__ import annotations

import numpy as np
import pytest
from tests.evaluation.rows import HOUR

from everloop.evaluation.answered import blocks_of
from everloop.evaluation.intervals import draws_of, figures


@pytest.mark.parametrize("alike", [False, True])
def test_the_interval_of_a_mean_covers_it_as_often_as_it_says(alike: bool) -> None:
    rng, covered, narrow = np.random.default_rng(3), 0, 0
    blocks = np.repeat(np.arange(60), 10)
    for repetition in range(40):
        values = rng.normal(size=600) + (np.repeat(rng.normal(0, 2, 60), 10) if alike else 0.0)

        def measure(rows: np.ndarray[tuple[int], np.dtype[np.int64]], values: np.ndarray = values) -> dict[str, float]:
            return {"mean": float(values[rows].mean())}

        for name, ids in (("blocks", blocks), ("rows", np.arange(600))):
            found = figures(measure, ids, repetition)["mean"]
            assert found.low is not None
            assert found.high is not None
            inside = found.low <= 0.0 <= found.high
            covered, narrow = (covered + inside, narrow) if name == "blocks" else (covered, narrow + inside)
    assert covered >= 34
    assert (narrow < 27) == alike, "rows drawn one by one would promise far too much where they are alike"


def test_a_draw_takes_whole_blocks() -> None:
    blocks = np.array([0, 0, 0, 1, 2, 2])
    for rows in draws_of(blocks, draws=20):
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[1] == counts[2]
        assert counts[4] == counts[5]
        assert counts[0] + counts[3] + counts[4] == 3


def test_few_blocks_give_a_figure_without_an_interval() -> None:
    found = figures(lambda rows: {"count": float(len(rows))}, np.array([0, 0, 1]))["count"]
    assert (found.value, found.low, found.high) == (3.0, None, None)


def test_blocks_are_halved_until_there_are_enough() -> None:
    ids, length = blocks_of(np.arange(48, dtype=np.float64) * HOUR, 24 * HOUR)
    assert (length, ids.max()) == (3 * HOUR, 15)
    ids, length = blocks_of(np.arange(24 * 30, dtype=np.float64) * HOUR, 24 * HOUR)
    assert (length, ids.max()) == (24 * HOUR, 29)
    ids, length = blocks_of(np.arange(5.0), 0.0)
    assert (length, ids.tolist()) == (0.0, [0, 1, 2, 3, 4])
