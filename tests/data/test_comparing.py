from __future__ import annotations

import numpy as np
import pandas as pd

from everloop.data.comparing import compare


def table(seed: int, n: int = 3000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"a": rng.normal(size=n), "b": rng.uniform(size=n), "c": rng.choice(list("xyz"), n)})


def test_equal_worlds_show_no_shift() -> None:
    shifts = [s for seed in range(20) for s in compare(table(seed), table(seed + 100), ["a", "b", "c"])]
    assert not [s for s in shifts if s.shifted]


def test_what_moved_comes_first_with_both_sides() -> None:
    now = table(1).assign(a=lambda f: f["a"] + 1, c=lambda f: f["c"].where(f["c"] != "x", "w"))
    now.loc[:1000, "b"] = np.nan
    shifts = compare(table(0), now, ["a", "b", "c"])
    assert {s.column for s in shifts if s.shifted} == {"a", "b", "c"}
    first = {s.column: s for s in shifts}
    assert (first["a"].test, first["c"].test) == ("kolmogorov_smirnov", "chi_squared")
    assert first["a"].after.startswith("median 0.999,")
    assert abs(first["b"].missing_after - 1 / 3) < 0.01
    assert 0 < first["c"].jensen_shannon < 1
