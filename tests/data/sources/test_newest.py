"""Which rows are new: those behind the newest, and late ones within the overlap; nothing twice."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from everloop.data.sources.newest import Newest
from everloop.errors import DataError, UsageError


def new(cursor: dict[str, Any], *values: Any, overlap: str = "", ordered: bool = True) -> tuple[list[Any], Any]:
    """Return what is new of rows (the first column, and a key), and the cursor behind them as it is stored."""
    newest = Newest(("at", "id"), overlap, cursor)
    rows = [{"at": at[0], "id": at[1]} if isinstance(at, tuple) else {"at": at, "id": i} for i, at in enumerate(values)]
    found = [(row["at"], row["id"]) for row in newest.take(rows, ordered=ordered)]
    return found, msgspec.json.decode(msgspec.json.encode(newest.cursor))


def test_rows_at_the_newest_value_that_come_later_are_found() -> None:
    found, cursor = new({}, (1, "a"), (2, "b"))
    assert found == [(1, "a"), (2, "b")]
    found, cursor = new(cursor, (2, "a"), (2, "b"), (3, "c"))
    assert found == [(2, "a"), (3, "c")]
    assert cursor == {"newest": 3, "seen": ['[3,"c"]']}
    assert new(cursor, (3, "c"))[0] == []


@pytest.mark.parametrize(
    ("first", "late", "overlap", "start"),
    [
        ((10, 20), 15, "8", 12),
        ((1.5, 2.5), 2.25, "0.5", 2.0),
        ((Decimal("1.5"), Decimal("2.5")), Decimal("2.2"), "0.5", Decimal("2.0")),
        ((datetime(2024, 1, 1), datetime(2024, 1, 2)), datetime(2024, 1, 1, 20), "6h", datetime(2024, 1, 1, 18)),
        ((date(2024, 1, 1), date(2024, 1, 5)), date(2024, 1, 4), "2d", date(2024, 1, 3)),
        (("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"), "2024-01-01T20:00:00.5Z", "6h", "2024-01-01T18:00:00Z"),
        (("2024-01-01 00:00:00", "2024-01-02 00:00:00"), "2024-01-01 20:00:00", "6h", "2024-01-01 18:00:00"),
    ],
)
def test_late_rows_within_the_overlap_are_found_once(first: Any, late: Any, overlap: str, start: Any) -> None:
    _, cursor = new({}, *first, overlap=overlap)
    newest = Newest(("at", "id"), overlap, cursor)
    assert newest.start == start
    found, cursor = new(cursor, (late, 7), (first[1], 1), overlap=overlap)
    assert found == [(late, 7)]
    assert new(cursor, (late, 7), (first[1], 1), overlap=overlap)[0] == []
    assert new(cursor, (first[0], 8), overlap=overlap)[0] == []  # too late


def test_the_order_of_an_api_does_not_matter() -> None:
    found, cursor = new({}, (3, "c"), (1, "a"), (2, "b"), (3, "c"), ordered=False)
    assert found == [(3, "c"), (1, "a"), (2, "b")]
    assert cursor["newest"] == 3


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (((1, "a"), (1, "a")), "two rows with at = 1, id = a"),
        (((1, "a"), (None, "b")), "a row without 'at'"),
        (((1, "a"), ("x", "b")), "values of different kinds in 'at'"),
    ],
)
def test_rows_that_cannot_be_told_apart_or_ordered_are_refused(values: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        new({}, *values)


def test_an_overlap_of_another_kind_is_refused() -> None:
    _, cursor = new({}, 1, 2)
    with pytest.raises(UsageError, match=r"overlap = '6h' does not fit 2: a number for numbers, a duration for times"):
        new(cursor, 3, overlap="6h")
