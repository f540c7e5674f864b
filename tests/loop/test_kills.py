"""`kill -9` wherever a controller could leave half of what a trigger starts: one decision, one run, one version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVERY = int(os.environ.get("EVERLOOP_KILL_EVERY", "17"))
"""Every how-manieth point is killed at; `make chaos` takes each, which is an hour's work."""


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("trigger", ["code", "repository_data", "storage", "schedule", "concept_drift"])
def test_a_kill_anywhere_leaves_one_run(trigger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.kills", str(tmp_path / "kills"), trigger, str(EVERY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alive, *points = [json.loads(line) for line in done.stdout.splitlines()]
    with capsys.disabled():
        found = dict(Counter(alive["points"]))
        print(f"\n{trigger}: killed at {len(points)} of {len(alive['points'])} points: {found}")
    assert len(alive["points"]) > 40
    assert len(points) >= len(alive["points"]) // EVERY
    assert [d[1] for d in alive["state"]["decisions"]] == ["done", "done"]
    assert len(alive["state"]["versions"]) == len(alive["state"]["runs"]) == 2
    assert {status for _, status in alive["state"]["events"]} <= {"done"}
    for point in points:
        assert point["died"] == -9, point
        assert point["after"] == alive["state"], point
