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
