"""What a project file names must be there, and is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.projects import history
from tests.test_settings import SMALL

from everloop.data import infer
from everloop.errors import SettingsError
from everloop.loop.schemas import check_columns
from everloop.loop.sensors import sensors_of
from everloop.loop.wiring import build_controller
from everloop.loop.workspace import Workspace, opened


def project(folder: Path, more: str) -> Path:
    (folder / "everloop.toml").write_text(f"{SMALL.rstrip()}\n{more}")
    return folder


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("sensitive = ['hours']", r"everloop\.toml:9: \[deployment\] sensitive = \['hours'\]: 'hours' is no input"),
        ("slices = ['b', 'y']", r"everloop\.toml:9: \[deployment\] slices = \['b', 'y'\]: 'y' is no input"),
    ],
)
def test_a_column_that_is_none_is_refused(tmp_path: Path, key: str, told: str) -> None:
    schema = infer(history(), target="y", time="time")
    with opened(project(tmp_path, f"[deployment]\n{key}")) as workspace:
        with pytest.raises(SettingsError, match=told):
            check_columns(workspace, schema)


def test_columns_that_are_there_pass(tmp_path: Path) -> None:
    schema = infer(history(), target="y", time="time")
    with opened(project(tmp_path, "[deployment]\nsensitive = ['hour']")) as workspace:
        check_columns(workspace, schema)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[gates]\nrsme = { max = 3 }", r"everloop\.toml:8: \[gates\] unknown metric 'rsme'"),
        ("[triggers]\nwhen = 'data_drift &'", r"everloop\.toml:9: \[triggers\.when\] 'data_drift &': write"),
        ("[triggers.schedule]\ncron = '0 3 *'", r"everloop\.toml:9: \[triggers\.schedule\] cron = '0 3 \*'"),
    ],
)
def test_what_only_its_use_shows_is_told_with_its_line(tmp_path: Path, more: str, told: str) -> None:
    with opened(project(tmp_path, more)) as workspace:
        with pytest.raises(SettingsError, match=told):
            begin(workspace)


def begin(workspace: Workspace) -> None:
    sensors_of(workspace)
    build_controller(workspace, training_time=lambda t: t, report=lambda _: None)
