"""The small install: the server alone, from the pinned base requirements, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
