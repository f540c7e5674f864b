"""The quickstart, executed command by command as it is written, on the real files that it names."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from tests.buckets import free_port

from everloop import Project

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
QUICKSTARTS = re.findall(r"```\n(.*?)```", (ROOT / "docs" / "quickstart.md").read_text(), re.DOTALL)
FILES = [("adult/adult.csv", 16_000, 30_000, 200), ("bike-sharing/hour.csv", 8_645, 17_000, 300)]


class Shell:
    """Runs a page's commands in order; `cd` and a trailing `&` mean what they mean in a shell."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.behind = folder, list[subprocess.Popen[bytes]]()
        self.environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(self, line: str) -> str:
        if line.startswith("cd "):
            self.folder /= line.removeprefix("cd ")
            with (self.folder / "everloop.toml").open("a") as file:  # ports that no other test has
                file.write(f"\n[serving]\nport = {free_port()}\n")
            return ""
        if line.endswith("&"):
            command = line.removesuffix("&").split()
            with (self.folder.parent / "up.log").open("wb") as log:
                self.behind.append(
                    subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
                )
            return ""
        told = subprocess.run(
            line, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert told.returncode == 0, f"{line}: {told.stdout}{told.stderr}"
        return told.stdout

    def end(self) -> None:
        for process in self.behind:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (self.folder.parent / "up.log").read_text()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    found = Shell(tmp_path)
    yield found
    for process in found.behind:
        if process.poll() is None:
            process.kill()


@pytest.mark.parametrize(
    ("page", "files"),
    [
        pytest.param(QUICKSTARTS[0], FILES[0], id="adult", marks=pytest.mark.slow),
        pytest.param(QUICKSTARTS[1], FILES[1], id="bike-sharing", marks=pytest.mark.slow),
    ],
)
def test_ten_commands_lead_from_nothing_to_a_retrained_model(
    shell: Shell, tmp_path: Path, page: str, files: tuple[str, int, int, int]
) -> None:
    name, half, end, asked = files
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not on this machine")
    rows = pd.read_csv(DATA / name)
    rows[:half].to_csv(tmp_path / "first.csv", index=False)
    rows[half:end].to_csv(tmp_path / "second.csv", index=False)
    rows[end : end + asked].to_csv(tmp_path / "new.csv", index=False)
    commands = page.splitlines()
    assert len(commands) <= 10
    told = {line: shell.run(line) for line in commands}
    assert "v1 is the champion" in told["everloop run"]
    assert told[commands[6]] == f"{asked} labels taken\n"
    assert "v2 is judged beside the champion" in told[commands[8]]
    assert told[commands[9]].endswith("v2 is the champion\n")
    project = Project.open(shell.folder)
    assert project.status()["champion"] == "v2"
    answers = pd.read_csv(tmp_path / "answers.csv")
    assert len(answers) == asked
    trail = project.show(answers["prediction_id"].iloc[0])["links"]
    assert (trail["version"], trail["data version"]) == (["v1"], ["data-1"])
    trained = project.data.table("data-2")
    assert len(trained) == end + asked  # both files, and what was served and labelled
    shell.end()
    assert "v2 promoted: passed its gate" in (tmp_path / "up.log").read_text()
