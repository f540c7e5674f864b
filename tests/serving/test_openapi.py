"""The served description is true: a foreign tester that reads it finds no answer that it does not describe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.sites import Site

from everloop.serving.http import _target
from everloop.serving.openapi import document

CHECKS = "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance"


def test_every_path_is_one_that_the_server_knows() -> None:
    for path, methods in document()["paths"].items():
        target = _target(path.format(model="m", version="1"))
        assert [target.method.lower()] == list(methods)


@pytest.mark.slow
def test_a_foreign_tester_finds_nothing(site: Site, start: Any) -> None:
    site.write(1)
    with start(site) as running:
        described = httpx.get(f"{running.url}/openapi.json").json()
        for place in _parameters(described):  # else hardly a request would meet the model
            place["schema"]["enum"] = {"model": ["rides"], "version": ["v1", "v9"]}[place["name"]]
        del described["paths"]["/v2/repository/models/{model}/unload"]  # nothing would be answered after it
        file = site.folder / "openapi.json"
        file.write_text(json.dumps(described))
        command = [Path(sys.executable).with_name("schemathesis"), "run", file, "--url", running.url]
        options = ["--checks", CHECKS, "--max-examples", "40", "--seed", "1", "--phases", "examples,coverage,fuzzing"]
        told = subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=240, cwd=site.folder, check=False
        )
        assert told.returncode == 0, told.stdout[-6000:]
        assert httpx.get(f"{running.url}/v2/health/ready").status_code == 200
        errors = httpx.get(f"{running.url}/metrics").text
    assert 'everloop_errors_total{status="400"}' in errors
    assert 'everloop_errors_total{status="500"}' not in errors


def _parameters(described: dict[str, Any]) -> list[dict[str, Any]]:
    return [p for path in described["paths"].values() for operation in path.values() for p in operation["parameters"]]
