from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import RequestError
from everloop.inference import columns_from_lists, unknown_categories
from everloop.types import Column

COLUMNS = (
    Column("price", "float64"),
    Column("count", "int64"),
    Column("member", "bool"),
    Column("city", "string", "categorical", categories=("Bonn", "Oslo")),
)
ROW: dict[str, list[Any]] = {"price": [1.5], "count": [2], "member": [True], "city": ["Bonn"]}


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53),
            st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(),
        ),
        min_size=1,
        max_size=20,
    )
)  # fmt: skip
def test_values_keep_their_meaning(rows: list[tuple[Any, int, bool, str]]) -> None:
    prices, counts, members, cities = (list(c) for c in zip(*rows, strict=True))
    arrays = columns_from_lists(COLUMNS, {"price": prices, "count": counts, "member": members, "city": cities})
    for given_price, found in zip(prices, arrays["price"].tolist(), strict=True):
        assert math.isnan(found) if given_price is None else found == given_price
    assert arrays["count"].tolist() == counts
    assert arrays["member"].tolist() == members
    assert arrays["city"].tolist() == cities
    assert [a.dtype for a in arrays.values()] == [np.float64, np.int64, np.bool_, object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": ["1.5"]}, "column 'price', row 0: '1.5' is not a number"),
        ({"price": [True]}, "column 'price', row 0: 'True' is not a number"),
        ({"price": [10**400]}, "column 'price' holds a number too large for 64 bits"),
        ({"count": [1.5]}, "column 'count', row 0: '1.5' is not a whole number of 64 bits"),
        ({"count": [2**63]}, "is not a whole number of 64 bits"),
        ({"count": [float("nan")]}, "column 'count', row 0: 'nan' is not a whole number"),
        ({"count": [float("inf")]}, "column 'count', row 0: 'inf' is not a whole number"),
        ({"count": [10**5000]}, "column 'count', row 0: a whole number of 16610 bits is not a whole number of 64"),
        ({"city": [10**5000]}, "column 'city', row 0: a whole number of 16610 bits is not text"),
        ({"city": ["\ud800", 1]}, "column 'city' has 2 values"),
        ({"city": [1]}, "column 'city', row 0: '1' is not text"),
        ({"price": [[1.0]]}, "column 'price', row 0: '.1.0.' is not a number"),
        ({"price": ["x" * 1000]}, "column 'price', row 0: 'x{40}' is not a number"),
        ({"count": [None]}, "column 'count', row 0: 'None' is not a whole number"),
        ({"member": [1]}, "column 'member', row 0: '1' is not true or false"),
        ({"city": [None]}, "column 'city', row 0: 'None' is not text"),
        ({"city": ["Bonn", "Oslo"]}, "column 'city' has 2 values, the others have 1"),
        ({"towm": ["Bonn"]}, "unknown column 'towm'"),
        ({"city": None}, "column 'city' is missing"),
    ],
)
def test_what_does_not_fit_is_named_with_column_and_row(change: dict[str, Any], message: str) -> None:
    values = {k: v for k, v in (ROW | change).items() if v is not None}
    with pytest.raises(RequestError, match=message):
        columns_from_lists(COLUMNS, values)


def test_a_name_nearly_right_is_suggested() -> None:
    values = {k: v for k, v in ROW.items() if k != "city"} | {"citi": ["Bonn"]}
    with pytest.raises(RequestError, match="column 'city' is missing: the model takes price, count, member, city"):
        columns_from_lists(COLUMNS, values)


def test_unseen_categories_are_told_once_each() -> None:
    arrays = columns_from_lists(
        COLUMNS, {"price": [1.0] * 4, "count": [1] * 4, "member": [True] * 4, "city": ["Bonn", "Rome", "Kyiv", "Rome"]}
    )
    assert unknown_categories(COLUMNS, arrays) == {"city": ["Rome", "Kyiv"]}


def test_whole_numbers_keep_every_digit() -> None:
    (counts,) = columns_from_lists((COLUMNS[1],), {"count": [2**53 + 1, 2.0, -(2**63), 2**63 - 1]}).values()
    assert counts.tolist() == [2**53 + 1, 2, -(2**63), 2**63 - 1]


def test_no_rows_and_no_columns() -> None:
    arrays = columns_from_lists(COLUMNS, {name: [] for name in ROW})
    assert [(str(a.dtype), a.shape) for a in arrays.values()] == [
        (dtype, (0,)) for dtype in ("float64", "int64", "bool", "object")
    ]
    assert columns_from_lists((), {}) == {}
    with pytest.raises(RequestError, match="unknown column 'price'"):
        columns_from_lists((), {"price": [1.0]})


def test_a_missing_number_is_no_unseen_category() -> None:
    columns = (Column("size", "float64", "categorical", categories=(1.0, 2.0)), Column("count", "int64"))
    arrays = columns_from_lists(columns, {"size": [None, 1, 3, None], "count": [1, 2, 3, 4]})
    assert unknown_categories(columns, arrays) == {"size": [3.0]}
    seen = columns_from_lists(columns, {"size": [2], "count": [9]})
    assert unknown_categories(columns, seen) == {}
