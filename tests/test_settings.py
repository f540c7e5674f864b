"""everloop.toml: five lines are enough, a wrong key gets its line and the close match."""

from __future__ import annotations

from pathlib import Path

import pytest

from everloop.errors import SettingsError
from everloop.settings import load, parse, seconds

SMALL = """\
[project]
name = "rides"
[data]
target = "cnt"
time = "timestamp"
[training]
model = "rides.model:model"
"""


def test_five_values_are_a_working_project() -> None:
    settings = parse(SMALL)
    assert settings.project.name == "rides"
    assert settings.serving.host == "127.0.0.1"
    assert settings.gates == {"beats_champion": True}


@pytest.mark.parametrize(
    ("extra", "line", "words"),
    [
        ("[deployment]\nstrategy = 'canary'\nstiky_by = 'x'\n", 10, "did you mean 'sticky_by'"),
        ("[triggers]\nconcept_drift = { coldown = '3d' }\n", 9, "did you mean 'cooldown'"),
        ("[deplyment]\n", 8, "did you mean 'deployment'"),
        ("[deployment]\nalpha = 'much'\n", 9, "expected `float`, got `str`"),
        ("[deployment]\nstrategy = 'hope'\n", 9, "invalid enum value 'hope'"),
        ("[deployment]\nalpha = 0.9\n", 9, "outside"),
        ("[replay]\nlabel_delay = 'a day'\n", 9, "no duration"),
        ("[triggers.concept_drift]\ncooldown = '3 moons'\n", 9, "no duration"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_its_line(extra: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(SMALL + extra)
    assert caught.value.line == line
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SettingsError, match="missing required field `target`"):
        parse("[project]\nname='a'\n[data]\ntime='t'\n[training]\nmodel='a:b'\n")


def test_broken_toml_and_a_folder_without_a_project(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not valid TOML"):
        parse("[project\n")
    with pytest.raises(SettingsError, match="not a project"):
        load(tmp_path)


def test_durations() -> None:
    assert [seconds(t) for t in ("90s", "1.5h", "3d", "2w")] == [90, 5400, 259200, 1209600]
