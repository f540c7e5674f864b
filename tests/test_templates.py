"""Each template is a project a person would want to own: its settings load and its own tests pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from everloop.settings import load

TEMPLATES = Path(__file__).parents[1] / "src" / "everloop" / "templates"


QUICK = ("bike-sharing", "minimal")
"""The others are slow: they take minutes, and the recipes' own tests follow them to an answer anyway."""


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(p.name, marks=[] if p.name in QUICK else [pytest.mark.slow])
        for p in sorted(TEMPLATES.iterdir())
        if p.is_dir()
    ],
)
def test_a_template_is_a_working_project(template: str, tmp_path: Path) -> None:
    project = tmp_path / template
    shutil.copytree(TEMPLATES / template, project)
    assert load(project).project.name == template
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=project, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout
