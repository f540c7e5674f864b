"""Which rows of a table or an API are new: those behind the newest one, and late ones that were not seen yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from everloop.data.sources.source import Cursor, Row
from everloop.errors import DataError, UsageError
from everloop.settings import seconds

__all__ = ["Newest"]

TIME = re.compile(r"\d{4}-\d\d-\d\d")


class Newest:
    """What is known of the rows so far: the newest value of the first column, and who was seen at it or shortly before.

    `columns` tell rows apart; `overlap` says how far behind the newest value late rows may come.
    """

    def __init__(self, columns: Sequence[str], overlap: str, cursor: Cursor) -> None:
        self._columns, self._overlap, self._last = columns, overlap, ""
        self.value: Any = _read(cursor["newest"]) if cursor else None
        self._seen = {text: _order(_read(msgspec.json.decode(text)[0])) for text in cursor.get("seen", ())}
        self._from = _order(self.start) if self.known else None

    @property
    def known(self) -> bool:
        """Whether there was any row."""
        return self.value is not None

    @property
    def start(self) -> Any:
        """The value from which on rows may be new."""
        return _before(self.value, self._overlap) if self._overlap else self.value

    @property
    def cursor(self) -> Cursor:
        """All of this as JSON."""
        if not self.known:
            return {}
        start = _order(self.start)
        self._seen = {text: order for text, order in self._seen.items() if order >= start}
        return {"newest": _written(self.value), "seen": list(self._seen)}

    def take(self, rows: Iterable[Row], *, ordered: bool) -> Iterator[Row]:
        """Yield the rows that are new; of `ordered` ones no two may have the same values in the cursor's columns."""
        for row in rows:
            text, order = self._identity(row)
            if ordered and text == self._last:
                told = ", ".join(f"{name} = {row[name]}" for name in self._columns)
                raise DataError(f"has two rows with {told}: name columns in cursor that tell rows apart, such as a key")
            self._last = text
            try:
                if text in self._seen or (self._from is not None and order < self._from):
                    continue
                if not self.known or order > _order(self.value):
                    self.value = row[self._columns[0]]
            except TypeError:
                raise DataError(f"holds values of different kinds in {self._columns[0]!r}, which orders them") from None
            self._seen[text] = order
            yield row

    def _identity(self, row: Row) -> tuple[str, Any]:
        values = [row.get(name) for name in self._columns]
        if None in values:
            missing = self._columns[values.index(None)]
            raise DataError(f"has a row without {missing!r}, which cursor names: leave such rows out of what is read")
        return msgspec.json.encode([_written(value) for value in values]).decode(), _order(values[0])


def _order(value: Any) -> Any:
    """Return what values are compared by; texts that are times are compared as times."""
    if isinstance(value, str) and TIME.match(value):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value


def _before(value: Any, overlap: str) -> Any:
    """Return a value of the same kind and form that lies so far before."""
    moment: Any = _order(value)
    number = overlap.replace(".", "", 1).isdigit()
    if isinstance(moment, int | float | Decimal) and number:
        return type(moment)(Decimal(str(moment)) - Decimal(overlap))
    if not isinstance(moment, date) or number:
        raise UsageError(f"overlap = {overlap!r} does not fit {value!r}: a number for numbers, a duration for times")
    earlier: Any = moment - timedelta(seconds=seconds(overlap))
    if not isinstance(value, str):
        return earlier
    text = earlier.isoformat(sep=value[10] if len(value) > 10 else "T")
    return text.replace("+00:00", "Z" if value.endswith("Z") else "+00:00" if "+" in value else "")


def _written(value: Any) -> Any:
    """Return a value as JSON that `_read` makes the same value of again."""
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    return value if isinstance(value, int | float | str) else str(value)


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        return _READ[kind](text)
    return value


_READ: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
}
