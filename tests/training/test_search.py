"""What is searched becomes what Optuna asks for; what stands now is told from what lies outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everloop.errors import SettingsError
from everloop.settings import Search, load, parse
from everloop.settings.writing import set_parameters
from everloop.training.search import fits, open_study, suggested

pytest.importorskip("optuna")

FILE = """\
[project]
name = "rides"   # ours

[data]
target = "cnt"

[training]
model = "rides:model"{parameters}

[tuning.parameters]
trees = {{ min = 50, max = 500, step = 50 }}
rate = {{ min = 0.01, max = 0.3, log = true }}
kind = {{ values = ["a", "b"] }}
"""


def test_parameters_have_the_kind_and_the_range_that_is_written(tmp_path: Path) -> None:
    searched = parse(FILE.format(parameters="")).tuning.parameters
    study = open_study(tmp_path / "s.log", "s", 0)
    found = [suggested(study.ask(), searched) for _ in range(20)]
    assert {type(one["trees"]) for one in found} == {int}
    assert {one["trees"] % 50 for one in found} == {0}
    assert all(0.01 <= one["rate"] <= 0.3 for one in found)
    assert {one["kind"] for one in found} == {"a", "b"}
    assert all(fits(one[name], told) for one in found for name, told in searched.items())


@pytest.mark.parametrize(
    ("value", "told", "inside"),
    [
        (100, Search(min=50, max=500, step=50), True),
        (110, Search(min=50, max=500, step=50), False),
        (501, Search(min=50, max=500), False),
        (0.5, Search(min=0, max=1), False),
        (0.5, Search(min=0.0, max=1.0), True),
        (1, Search(min=0.0, max=1.0), True),
        (True, Search(min=0, max=1), False),
        (None, Search(min=0, max=1), False),
        ("a", Search(values=("a", "b")), True),
        ("c", Search(values=("a", "b")), False),
    ],
)
def test_what_stands_lies_inside_or_not(value: Any, told: Search, inside: bool) -> None:
    assert fits(value, told) is inside


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x = { min = 1 }", "write min and max, or values"),
        ("x = { min = 2, max = 1 }", "min lies below max"),
        ("x = { min = 0, max = 1, log = true }", "a min above 0"),
        ("x = { min = 1, max = 9, values = [1] }", "values stand alone"),
        ("x = { min = 1, max = 9, stepp = 1 }", "did you mean 'step'"),
    ],
)
def test_a_search_that_is_none_is_refused_with_its_line(line: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        parse(FILE.format(parameters="") + line)
    assert caught.value.line == 14


@pytest.mark.parametrize(
    "before",
    ["", "\nparameters = { depth = 3, trees = 9 }  # by hand", "\n\n[training.parameters]\ntrees = 9"],
    ids=["none", "a line", "a table"],
)
def test_parameters_are_written_where_trainings_take_them_from(before: str, tmp_path: Path) -> None:
    path = tmp_path / "everloop.toml"
    path.write_text(FILE.format(parameters=before))
    old = load(tmp_path)
    set_parameters(tmp_path, {"trees": 300, "kind": "b"})
    new = load(tmp_path)
    assert new.training.parameters == old.training.parameters | {"trees": 300, "kind": "b"}
    assert (new.tuning, new.project, new.data) == (old.tuning, old.project, old.data)
    text = path.read_text()
    assert 'name = "rides"   # ours' in text
    assert ("# by hand" in text) == ("# by hand" in before)
    assert text.count("trees = ") == 2
    assert [p.name for p in tmp_path.iterdir()] == ["everloop.toml"]
