"""`everloop audit`, as a person meets it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.loop.audited import audited, ride, serve

from everloop.cli import main
from everloop.journal.segments import path_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(verb: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["everloop", "audit", verb, *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        told = capfd.readouterr()
        return int(stopped.value.code or 0), told.out, told.err

    return call


def test_the_life_of_a_journal(run: Run, tmp_path: Path) -> None:
    with audited(tmp_path) as workspace:
        ids, folder, journal = serve(workspace, [ride(1.0), ride(2.0)]), workspace.folder, workspace.journal

    def told(verb: str, *arguments: str) -> str:
        code, out, err = run(verb, *arguments, "--project", str(folder))
        assert code == 0, err
        return out

    def json_of(verb: str, *arguments: str) -> Any:
        return json.loads(told(verb, *arguments, "--json"))

    assert json_of("seal")["tip"]["number"] == 5
    assert told("seal") == "nothing is new since the newest seal\n"
    assert told("verify").startswith("5 records are as they were written, sealed up to record 5 at 2")
    assert json_of("show", ids[0])["links"]["version"] == ["v1"]
    assert "data-1" in told("show", ids[0])
    assert json_of("replay", ids[0])["equal"]
    assert told("replay", ids[0]) == "1 rows by v1: equal bit for bit\n"
    assert "differs by 1e+03 at most\nequality is not promised: version v2" in told("replay", ids[0], "--on", "v2")
    out = str(tmp_path / "tables")
    assert json_of("export", "--out", out)["rows"]["predictions"] == 2
    assert "4 kept" in told("export", "--out", out)
    assert "2 records of 1 predictions erased, 2 rows of exported tables" in told("erase", ids[0], "--reason", "asked")
    assert json_of("erase", "--column", "hour", "--value", "2", "--reason", "asked")["ids"] == [ids[1]]
    assert "4 were erased, as signed" in told("verify")
    assert json_of("retain", "--keep", "365d")["records"] == 0
    assert "0 records dropped" in told("retain", "--keep", "365d", "--out", out)
    path = path_of(journal, 1)
    path.write_bytes(path.read_bytes().replace(b'"kind":"feedback"', b'"kind":"feedbacK"', 1))
    code, said, _ = run("verify", "--project", str(folder))
    assert code == 1
    assert said.startswith(
        "wrong: record 1 (segment 1, byte 0): a record from here to 5 is not the one that was sealed"
    )
    assert json.loads(run("verify", "--project", str(folder), "--json")[1])["wrong"]["segment"] == 1


def test_wrong_usage_is_one_sentence(run: Run, tmp_path: Path) -> None:
    with audited(tmp_path) as workspace:
        (id,), folder = serve(workspace, [ride(1.0)]), workspace.folder
    for arguments, sentence in (
        (("erase", id), "an erasure needs a reason"),
        (("erase", "--reason", "x"), "say which predictions"),
        (
            ("show", "nothing"),
            "no decision, rollout, version, data version, run, event, signal or prediction 'nothing'",
        ),
        (("retain", "--keep", "soon"), "--keep: 'soon'"),
    ):
        code, _, err = run(*arguments, "--project", str(folder))
        assert (code, err.count("\n")) == (2, 1), err
        assert err.startswith(f"error: {sentence}")
