from __future__ import annotations

from typing import Any

import pytest

from everloop.serving.protocol import Tensor
from everloop.serving.sticky import StickyKey


def no_header(_name: str) -> str | None:
    return None


def test_a_header_is_the_key() -> None:
    key = StickyKey("header:X-User", ())
    assert key.of([], {"x-user": "anna"}.get) == "anna"
    assert key.of([], {"x-user": ""}.get) is None
    assert key.of([], no_header) is None


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ([7], "7"),
        ([7.0], "7"),
        ([7.5], "7.5"),
        (["anna", "bert"], "anna"),
        ([[3], [4]], "3"),
        ([None], None),
        ([], None),
    ],
)
def test_a_column_is_the_key_by_its_first_row(data: list[Any], key: str | None) -> None:
    assert StickyKey("column:user", ("user", "x")).of([Tensor("user", [1], "FP64", data)], no_header) == key


@pytest.mark.parametrize("data", [[1.0, 2.0, 3.0, 4.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_a_matrix_has_the_column_at_its_place(data: list[Any]) -> None:
    assert StickyKey("column:b", ("a", "b")).of([Tensor("x", [2, 2], "FP64", data)], no_header) == "2"


@pytest.mark.parametrize("data", [[], [[]], [1.0], [[[]]]])
def test_malformed_data_has_no_key(data: list[Any]) -> None:
    assert StickyKey("column:b", ("a", "b")).of([Tensor("x", [2, 2], "FP64", data)], no_header) is None


def test_no_key_is_asked_for() -> None:
    assert StickyKey(None, ("a",)).of([Tensor("a", [1], "FP64", [1.0])], {"x-user": "anna"}.get) is None
    assert StickyKey("column:z", ("a",)).of([Tensor("a", [1], "FP64", [1.0])], no_header) is None
