"""What counts of a batch is what its cursor stands behind, whatever was written before the process ended."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

from everloop.data.staging import Staged


def test_rows_without_a_cursor_do_not_count(tmp_path: Path) -> None:
    staged = Staged(tmp_path)
    assert (staged.new, staged.number, staged.cursor) == (True, 1, {})
    staged.add([{"id": 1}], {"page": 1})
    staged.add([{"id": 2}], None)
    assert Staged(tmp_path).rows == 1
    again = Staged(tmp_path)
    assert ([*again.all()], again.cursor, again.new) == ([{"id": 1}], {"page": 1}, False)
    again.add([{"id": 2}], None)
    again.add([], {"page": 2})
    assert [*Staged(tmp_path).all()] == [{"id": 1}, {"id": 2}]


def test_a_batch_is_sealed_then_done(tmp_path: Path) -> None:
    staged = Staged(tmp_path)
    staged.add([{"id": 1}], {"page": 1})
    staged.seal()
    assert Staged(tmp_path).sealed
    Staged(tmp_path).done()
    after = Staged(tmp_path)
    assert (after.number, after.rows, after.sealed, after.cursor) == (2, 0, False, {"page": 1})
    assert [*after.all()] == []


def test_values_become_json(tmp_path: Path) -> None:
    staged = Staged(tmp_path)
    moment = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.UTC)
    staged.add([{"at": moment, "day": moment.date(), "price": Decimal("1.10"), "raw": b"a"}], {})
    staged.add([], {"end": True})
    assert [*staged.all()] == [{"at": "2024-01-01T12:00:00Z", "day": "2024-01-01", "price": 1.1, "raw": "YQ=="}]
