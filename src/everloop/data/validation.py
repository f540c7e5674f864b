"""What is wrong with a table, column by column with the rows: the schema's types, then the rules of `[data.checks]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data.schema import Schema, conform, event_times, misfits
from everloop.errors import DataError, SettingsError, close_match
from everloop.settings import Checks, Rule, seconds

__all__ = ["Fault", "Report", "Validation", "row_numbers", "validate"]

Rows = Literal["file", "files", "served"]


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong: with these rows (positions from 0), or, without any, with the table."""

    column: str
    reason: str
    rows: tuple[int, ...] = ()
    acceptable: bool = False
    """Whether only the frozen schema says so: a new one could have it otherwise."""


class Report(msgspec.Struct, frozen=True):
    """All that is wrong with a table."""

    faults: tuple[Fault, ...]
    table: pd.DataFrame | None
    """The rows whose types fit, as the schema has them, with their positions as index; None where there is none."""

    @property
    def bad(self) -> list[int]:
        """The rows that are at fault, in order."""
        return sorted({row for fault in self.faults for row in fault.rows})


def validate(
    frame: pd.DataFrame, schema: Schema, checks: Checks, *, of: Rows = "file", now: float | None = None
) -> Report:
    """Return what is wrong with prepared rows; never raises for the rows.

    `of` a `file` they are one delivery, complete, in its order, and of no time behind `now`; of `files`, all that there
    is; `served`, what clients asked for.
    """
    validation = Validation(schema, checks, of=of, now=now)
    report = validation.part(frame)
    return Report((*report.faults, *validation.whole()), report.table)


class Validation:
    """`validate` for a table that comes in parts, with all that must be remembered between them."""

    def __init__(self, schema: Schema, checks: Checks, *, of: Rows = "file", now: float | None = None) -> None:
        self._schema, self._checks, self._of, self._now = schema, checks, of, now
        self._rows, self._present = 0, dict.fromkeys(schema.names, 0)
        self._before = _Before()

    def part(self, frame: pd.DataFrame) -> Report:
        """Return what is wrong with the next rows; positions are those in this part."""
        schema, checks, now = self._schema, self._checks, self._now
        if missing := [n for n in (schema.time, *schema.names, schema.target.name) if n not in frame.columns]:
            known = [str(c) for c in frame.columns]
            lacking = (
                Fault(n, f"column {n!r} is missing{close_match(n, known)}", acceptable=n in schema.names)
                for n in missing
            )
            return Report(tuple(lacking), None)
        plain, numbers, faults = frame.reset_index(drop=True), row_numbers(frame), list[Fault]()
        table = _conformed(plain, schema)
        if table is None:
            faults += [_misfit(error, schema) for error in misfits(frame, schema)]
            plain = plain.drop(index=sorted({row for fault in faults for row in fault.rows}))
            table = _conformed(plain, schema) if len(plain) else None
        if self._of == "file" and checks.extra == "refuse" and not self._rows:
            faults += _unknown(frame, schema)
        self._rows += len(frame)
        for name in schema.names:
            self._present[name] += int(_without_gaps(frame[name]).notna().sum())
        if table is not None:
            if now is not None and self._of != "served":
                faults += _future(table, schema, now + seconds(checks.future), numbers)
            faults += _rules(table, plain, checks, numbers, self._of, self._before)
        return Report(tuple(faults), table)

    def whole(self) -> list[Fault]:
        """Return what no single row shows, once all parts were looked at: columns without any value, or too few."""
        faults = list[Fault]()
        for name, present in self._present.items() if self._of != "served" and self._rows else ():
            rule, share = self._checks.columns.get(name, Rule()), present / self._rows
            if self._rows > 1 and not present:
                faults.append(Fault(name, f"column {name!r} holds no value at all"))
            elif share < rule.present:
                told = f"column {name!r} holds a value in {share:.1%} of the rows, [data.checks] asks for"
                faults.append(Fault(name, f"{told} {rule.present:.1%}"))
        return faults


class _Before:
    """What earlier parts held, as far as rules compare rows: hashes of values that must be unique, and last values."""

    def __init__(self) -> None:
        self._seen: dict[str, NDArray[np.uint64]] = {}
        self._last: dict[str, Any] = {}

    def single(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """Return which values come for the first time."""
        name, hashes = str(values.name), pd.util.hash_pandas_object(values, index=False).to_numpy()
        found = ~values.duplicated()
        return found & ~np.isin(hashes, self._seen[name], kind="sort") if name in self._seen else found

    def rising(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """Return which values are not less than the one before."""
        before = values.shift()
        if len(values) and str(values.name) in self._last:
            before.iloc[0] = self._last[str(values.name)]
        return ~(values < before.ffill())

    def keep(self, subject: pd.DataFrame, rules: Mapping[str, Rule]) -> None:
        """Remember what the rows hold."""
        for name, rule in rules.items():
            values = subject[name].dropna() if name in subject else pd.Series(dtype=object)
            if rule.unique and len(values):
                hashes = pd.util.hash_pandas_object(values, index=False).to_numpy()
                self._seen[name] = np.union1d(self._seen.get(name, hashes), hashes)
            if rule.increasing and len(values):
                self._last[name] = values.iloc[-1]


def _conformed(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame | None:
    try:
        return conform(frame, schema)
    except DataError:
        return None


def row_numbers(frame: pd.DataFrame | pd.Series[Any]) -> NDArray[np.int64]:
    """Return the number of each row, from 1, as it stood before the features function where that keeps the index."""
    whole = pd.api.types.is_integer_dtype(frame.index)
    numbers: NDArray[np.int64] = (frame.index.to_numpy() if whole else np.arange(len(frame))) + 1
    return numbers


def _told(rows: tuple[int, ...], numbers: NDArray[np.int64]) -> str:
    shown = ", ".join(str(numbers[row]) for row in rows[:5])
    return f"row {shown}" if len(rows) == 1 else f"rows {shown}{' ...' if len(rows) > 5 else ''} ({len(rows)} in all)"


def _named(error: DataError) -> str:
    found = re.match(r"column '((?:[^'\\]|\\.)*)'", str(error))
    return found[1] if found else ""


def _misfit(error: DataError, schema: Schema) -> Fault:
    name, told = _named(error), str(error)
    needed = name == schema.time or "(the target) is missing" in told
    return Fault(name, told, error.rows, acceptable=not needed)


def _unknown(frame: pd.DataFrame, schema: Schema) -> Iterator[Fault]:
    """Give columns that nobody knows."""
    known = {*schema.names, schema.time, schema.target.name}
    if extra := [str(c) for c in frame.columns if c not in known]:
        yield Fault(
            extra[0], f"column {extra[0]!r} is none of the schema's{close_match(extra[0], known)}", acceptable=True
        )


def _future(table: pd.DataFrame, schema: Schema, latest: float, numbers: NDArray[np.int64]) -> Iterator[Fault]:
    late = event_times(table, schema.time) > latest
    if late.any():
        rows = tuple(sorted(int(row) for row in table.index[late]))
        told = f"column {schema.time!r} lies in the future in {_told(rows, numbers)}: {str(table[schema.time].max())!r}"
        yield Fault(schema.time, told, rows)


def _rules(
    table: pd.DataFrame, frame: pd.DataFrame, checks: Checks, numbers: NDArray[np.int64], of: Rows, before: _Before
) -> Iterator[Fault]:
    """Run pandera over the columns that have rules; a column that only the file has keeps its own values."""
    if not checks.columns and not checks.rows:
        return
    known = [*map(str, table.columns), *(str(c) for c in frame.columns if str(c) not in table.columns)]
    for name in checks.columns:
        if of != "served" and name not in known:
            raise SettingsError(f"[data.checks.columns.{name}] there is no such column{close_match(name, known)}")
    ruled = [name for name in known if name in checks.columns or any(name in rule for rule in checks.rows)]
    subject = pd.DataFrame({n: _without_gaps(table[n] if n in table else frame[n]) for n in ruled})
    subject = subject if subject.index.is_monotonic_increasing else subject.sort_index()
    yield from _broken(subject, checks, numbers, of, before)
    if of != "served":
        before.keep(subject, checks.columns)


def _broken(
    subject: pd.DataFrame, checks: Checks, numbers: NDArray[np.int64], of: Rows, before: _Before
) -> Iterator[Fault]:
    import pandera.pandas as pa

    columns = {
        name: pa.Column(None, _column_checks(rule, of, before), nullable=True)
        for name, rule in checks.columns.items()
        if name in subject
    }
    whole = [pa.Check(_expression(rule), error=f"not {rule}", ignore_na=False) for rule in checks.rows]
    try:
        pa.DataFrameSchema(columns, checks=whole).validate(subject, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        cases.loc[cases["schema_context"] != "Column", "column"] = ""
        for (column, check), group in cases.groupby(["column", "check"], sort=False):
            rows = tuple(sorted({int(row) for row in group["index"].dropna()}))
            if not rows:
                told = f"[data.checks] {check!r} cannot be told: {group['failure_case'].iloc[0]}"
                raise SettingsError(told) from None
            if column:
                example = str(subject[column].loc[rows[0]])[:40]
                yield Fault(column, f"column {column!r} {check} in {_told(rows, numbers)}: {example!r}", rows)
            else:
                yield Fault("", f"{check} in {_told(rows, numbers)}", rows)


def _column_checks(rule: Rule, of: Rows, before: _Before) -> list[Any]:
    import pandera.pandas as pa

    found = []
    if rule.min is not None:
        found.append(pa.Check.ge(rule.min, error=f"is less than {rule.min:g}"))
    if rule.max is not None:
        found.append(pa.Check.le(rule.max, error=f"is more than {rule.max:g}"))
    if rule.values is not None:
        found.append(pa.Check.isin(list(rule.values), error="is none of the allowed values"))
    if rule.regex is not None:
        found.append(pa.Check(partial(_matching, re.compile(rule.regex)), error=f"does not match {rule.regex!r}"))
    if rule.unique and of != "served":
        found.append(pa.Check(before.single, error="comes twice"))
    if rule.increasing and of == "file":
        found.append(pa.Check(before.rising, error="goes back"))
    return found


def _matching(form: re.Pattern[str], values: pd.Series[Any]) -> pd.Series[bool]:
    """Return which texts match as a whole; each that comes often is looked at once."""
    return values.isin([value for value in values.unique() if form.fullmatch(str(value))])


def _expression(rule: str) -> Any:
    """Return a check of each row; one that lacks a value the expression names is not judged."""

    def holds(rows: pd.DataFrame) -> pd.Series[bool]:
        named = [name for name in rows.columns if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", rule)]
        found = pd.Series(rows.eval(rule, engine="python"), index=rows.index).astype(bool)
        return found | rows[named].isna().any(axis=1)

    return holds


def _without_gaps(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return texts with the empty one, which stands for a missing one, as missing."""
    try:
        return values if pd.api.types.is_numeric_dtype(values) else values.mask(values == "", None)
    except ValueError:  # lists, which are compared one by one: the schema refuses them
        return values
