"""The schema as text: the same schema comes back, and a change reads as a diff."""

from __future__ import annotations

import string
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.data import Schema, schema_file
from everloop.errors import SettingsError
from everloop.types import Column

TEXT = st.text(alphabet=string.printable + "äé☃\x00\x7f\"'\\", max_size=12)
NUMBER = st.none() | st.floats(allow_nan=False)
COLUMNS = st.one_of(
    st.builds(Column, TEXT, st.just("float64"), minimum=NUMBER, maximum=NUMBER),
    st.builds(
        lambda name, values: Column(name, "string", "categorical", categories=tuple(values)), TEXT, st.lists(TEXT)
    ),
)
CLASSES = st.lists(TEXT, max_size=3) | st.lists(st.integers(-9, 9), max_size=3)
SCHEMAS = st.builds(
    lambda inputs, target, classes: Schema(tuple(inputs), target, "time", "regression", tuple(classes)),
    st.lists(COLUMNS, max_size=4), COLUMNS, CLASSES,
)  # fmt: skip


@given(SCHEMAS)
def test_a_schema_comes_back_from_its_text(tmp_path_factory: pytest.TempPathFactory, schema: Schema) -> None:
    folder = tmp_path_factory.mktemp("schema")
    (folder / "schema.toml").write_text(schema_file.render(schema), encoding="utf-8", newline="")
    assert schema_file.read(folder) == schema


def table(**changes: object) -> Schema:
    found = Schema((Column("a", "float64", minimum=0.0, maximum=1.0),), Column("y", "float64"), "time", "regression")
    return msgspec.structs.replace(found, **changes)


def test_a_change_is_one_line_of_a_diff() -> None:
    assert schema_file.diff(table(), table()) == ""
    wider = table(inputs=(Column("a", "float64", minimum=0.0, maximum=2.0), Column("b", "bool")))
    lines = [line for line in schema_file.diff(table(), wider).splitlines()[2:] if line[0] in "+-"]
    assert lines == [
        '-  { name = "a", dtype = "float64", minimum = 0.0, maximum = 1.0 },',
        '+  { name = "a", dtype = "float64", minimum = 0.0, maximum = 2.0 },',
        '+  { name = "b", dtype = "bool" },',
    ]


def test_other_columns_than_the_served_ones_are_refused_other_ranges_are_not() -> None:
    schema_file.check_same_inputs(table(inputs=(Column("a", "float64", maximum=9.0),)), table(), "v3")
    with pytest.raises(SettingsError, match=r"not those of v3, which serves \(b\)"):
        schema_file.check_same_inputs(table(inputs=(*table().inputs, Column("b", "bool"))), table(), "v3")
    with pytest.raises(SettingsError, match="the classes"):
        schema_file.check_same_inputs(table(classes=(0, 1)), table(classes=(0, 1, 2)), "v3")


def test_a_file_that_is_no_schema_is_told_with_its_place(tmp_path: Path) -> None:
    assert schema_file.read(tmp_path) is None
    (tmp_path / "schema.toml").write_text("task = 'guess'")
    with pytest.raises(SettingsError, match=r"schema.toml: not a schema: .*"):
        schema_file.read(tmp_path)
