from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from tests.projects import write_project

from everloop.logs import EcsFormatter


def record(message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("everloop.loop", logging.WARNING, __file__, 1, message, values, None)


def test_a_record_is_one_line_of_the_common_schema() -> None:
    said = record("two\nlines of %s", "v3")
    said.created = 1.5
    said.everloop = {"version": "v3", "path": Path("a/b")}
    line = EcsFormatter("rides", "everloop.controller").format(said)
    fields = json.loads(line)
    assert "\n" not in line
    assert fields["@timestamp"] == "1970-01-01T00:00:01.500Z"
    assert fields["message"] == "two\nlines of v3"
    assert (fields["log.level"], fields["service.name"]) == ("warning", "rides")
    assert fields["event.dataset"] == "everloop.controller"
    assert fields["everloop"] == {"version": "v3", "path": "a/b"}
    assert "error.type" not in fields


def test_an_error_comes_with_its_stack() -> None:
    said = record("failed")
    try:
        raise ValueError("no such row")
    except ValueError:
        said.exc_info = sys.exc_info()
    fields = json.loads(EcsFormatter("rides", "everloop.server").format(said))
    assert (fields["error.type"], fields["error.message"]) == ("ValueError", "no such row")
    assert "test_logs.py" in fields["error.stack_trace"]


@pytest.mark.parametrize("form", ["text", "ecs"])
def test_a_process_logs_to_stderr_alone(form: str) -> None:
    code = f"import logging; from everloop.logs import configure_logs; configure_logs('d', format='{form}')"
    code += "; logging.info('hello')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    if form == "ecs":
        assert json.loads(done.stderr)["message"] == "hello"
    else:
        assert done.stderr.endswith("INFO     hello\n")


def test_the_project_file_says_how_its_processes_log(tmp_path: Path) -> None:
    write_project(tmp_path / "project")
    with (tmp_path / "project" / "everloop.toml").open("a") as file:
        file.write('[logging]\nformat = "ecs"\nlevel = "warning"\n')
    code = (
        "import logging, sys, warnings\nfrom pathlib import Path\nfrom everloop.loop.workspace import opened\n"
        "with opened(Path(sys.argv[1])) as workspace:\n    workspace.log_as('monitor')\n"
        "logging.info('not told')\nlogging.warning('told')\nwarnings.warn('old')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "project")], capture_output=True, text=True, check=True
    )
    told, warned = (json.loads(line) for line in done.stderr.splitlines())
    assert (told["message"], told["service.name"], told["event.dataset"]) == ("told", "toy", "everloop.monitor")
    assert warned["log.logger"] == "py.warnings"
