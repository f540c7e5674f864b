"""The small install is the server alone, in an environment of its own; what is installed is what tests import."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_no_test_hides_an_installed_package() -> None:
    names = {path.relative_to(ROOT): path.stem for path in (ROOT / "tests").rglob("*") if path.suffix in ("", ".py")}
    known = metadata.packages_distributions()
    assert [str(path) for path, name in names.items() if name in known] == [], "rename it: imports would mean either"


@pytest.mark.slow
def test_the_base_install_serves_and_reaches_nothing_else(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    subprocess.run(["tools/setup", "base", sys.executable, str(venv)], cwd=ROOT, check=True, env=environment)
    python = str(venv / "bin" / "python")
    code = (
        "import everloop.serving, everloop.serving.app, everloop.serving.server, sys\n"
        "print(sorted({'pandas', 'sklearn', 'sqlalchemy', 'typer', 'onnx', 'pyarrow'} & set(sys.modules)))"
    )
    told = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
    helped = subprocess.run(
        [python, "-m", "everloop.serving", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Open Inference Protocol" in helped.stdout
    template = "import everloop, pathlib; p = pathlib.Path(everloop.__file__).parent / 'templates' / 'bike-sharing'\n"
    template += "print(sorted(f.name for f in p.rglob('*') if f.is_file()))"
    files = subprocess.run([python, "-c", template], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert {"everloop.toml", "model.py", ".gitignore"} <= set(eval(files))
