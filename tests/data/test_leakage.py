"""Leaks are found where they are, and nothing is said of honest tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from everloop.data import conform, infer
from everloop.data.leakage import leaks

N, DAY = 1000, 86400.0


def table(seed: int = 0, task: str = "regression") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, hour = rng.normal(size=N), np.arange(N) % 24
    y = a + rng.normal(size=N)
    if task == "classification":
        y = np.where(y > 0, "yes", "no")
    return pd.DataFrame({"time": np.arange(N) * 3600.0, "a": a, "hour": hour, "c": rng.choice(list("xyz"), N), "y": y})


def found(frame: pd.DataFrame) -> list[tuple[str, str]]:
    schema = infer(frame, target="y", time="time")
    return [(leak.kind, leak.column) for leak in leaks(conform(frame, schema), schema, 7 * DAY)]


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("seed", range(5))
def test_honest_tables_are_left_alone(seed: int, task: str) -> None:
    assert found(table(seed, task)) == []


def test_a_table_of_few_values_has_equal_rows_by_chance() -> None:
    frame = table(0, "classification")[["time", "hour", "c", "y"]].assign(hour=lambda f: f["hour"] % 3)
    assert found(frame) == []


def test_each_leak_is_found() -> None:
    copied = table()
    columns = ["a", "hour", "c", "y"]
    copied.loc[N - 20 :, columns] = copied.loc[0:19, columns].to_numpy()
    copied = copied.infer_objects().astype({"a": float, "hour": float, "y": float})
    assert found(copied) == [("duplicates", "")]
    assert found(table().assign(row=np.arange(N) + 7)) == [("id", "row")]
    assert found(table().assign(code=[f"k{n * 7919 % 1009}" for n in range(N)])) == [("id", "code")]
    assert found(table().assign(copy=lambda f: f["y"] * 2 + 1)) == [("target", "copy")]
    assert found(table(0, "classification").assign(z=lambda f: f["y"].str.upper())) == [("target", "z")]
