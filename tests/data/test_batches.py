"""Rows of a source in a file of each kind: equal values, the columns of the files that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everloop.data import batches
from everloop.data.sources import files

ROWS = [
    {"id": 1, "city": "Bonn", "x": 0.1 + 0.2, "flag": True, "tags": ["a", "b"]},
    {"id": 2, "x": 1e-300, "city": 'a "b", c\nd', "flag": None, "till": "007"},
]


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_values_come_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    assert batches.write(lambda: ROWS, path, []) == []
    found = files.read(path.name, tmp_path)
    assert list(found.columns) == ["id", "city", "x", "flag", "tags", "till"]
    assert found["x"].tolist() == [0.1 + 0.2, 1e-300]
    assert found["city"].tolist() == ["Bonn", 'a "b", c\nd']
    assert found["flag"].fillna("none").tolist() == [True, "none"]
    assert found["till"].astype(object).fillna("").tolist() in (
        ["", "007"],
        ["", 7.0],
    )  # a text file tells 007 from 7 among texts only


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_columns_are_those_of_the_files_before(suffix: str, tmp_path: Path) -> None:
    batches.write(lambda: [{"city": "a", "id": 1, "y": 0.5}], tmp_path / f"a{suffix}", [])
    columns = batches.columns_of(tmp_path, f"b{suffix}", f"data/*{suffix}")
    assert columns == ["city", "id", "y"]
    assert batches.write(lambda: ROWS, tmp_path / f"b{suffix}", columns) == ["x", "flag", "tags", "till"]
    assert len(files.read(f"*{suffix}", tmp_path)) == 3
    assert batches.columns_of(tmp_path / "nowhere", "a", "*.csv") == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_column_of_several_kinds_is_told_as_text(suffix: str, tmp_path: Path) -> None:
    batches.write(lambda: [{"x": 1}, {"x": "much"}, {"x": None}], tmp_path / f"a{suffix}", [])
    assert [str(value) for value in files.read(f"a{suffix}", tmp_path)["x"].dropna()] == ["1", "much"]


def test_what_could_not_be_read_keeps_its_text(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"x": 1}, {"unreadable": "{half"}]
    assert batches.write(lambda: rows, tmp_path / "a.jsonl", ["x"]) == []
    assert files.read("a.jsonl", tmp_path)["unreadable"].fillna("").tolist() == ["", "{half"]
