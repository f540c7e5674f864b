"""The command line as a person meets it: exit codes, one sentence an error, JSON alone on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.projects import history, write_project

from everloop import store as tables
from everloop.cli import completion, main
from everloop.journal import Writer
from everloop.loop.asking import ask
from everloop.loop.commands import CLOCK, RETRAIN, post, result
from everloop.loop.monitoring import Monitor
from everloop.loop.workspace import open_workspace, opened
from everloop.store import Store
from everloop.types import Event, Prediction, new_id, parse_time

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["everloop", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        told = capfd.readouterr()
        return int(stopped.value.code or 0), told.out, told.err

    return call


def test_help_names_the_verbs_and_imports_little() -> None:
    code = "import sys; sys.argv = ['everloop', '--help']\nimport everloop.cli, atexit\n"
    code += "atexit.register(lambda: print(sorted({'pandas', 'sklearn', 'numpy', 'sqlalchemy'} & set(sys.modules))))\n"
    code += "everloop.cli.main()"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(verb in told for verb in ("demo", "backtest", "serve", "controller"))
    assert told.strip().endswith("[]")


def test_the_version_is_told(run: Run) -> None:
    assert run("--version")[:2] == (0, "0.1.0\n")


def test_a_backtest_prints_json_alone_on_stdout(run: Run, tmp_path: Path) -> None:
    write_project(tmp_path / "project", days=40, change=25)
    code, out, err = run(
        "backtest", "--project", str(tmp_path / "project"), "--out", str(tmp_path / "out"), "--json", "--no-schedules"
    )
    assert code == 0
    summary = json.loads(out)
    assert set(summary["rmse"]) == {"frozen", "loop"}
    assert "replaying" in err


def test_a_backtest_prints_a_table(run: Run, tmp_path: Path) -> None:
    write_project(tmp_path / "project", days=40, change=25)
    code, out, _ = run(
        "backtest", "--project", str(tmp_path / "project"), "--out", str(tmp_path / "out"), "--no-schedules"
    )
    assert code == 0
    assert "frozen" in out
    assert str(tmp_path / "out" / "report.html") in out.replace("\n", "")


def test_a_folder_that_is_no_project(run: Run, tmp_path: Path) -> None:
    for verb in ("backtest", "serve", "controller"):
        code, out, err = run(verb, "--project", str(tmp_path))
        assert (code, out) == (2, "")
        assert (
            err.strip().splitlines()[-1]
            == f"error: {tmp_path}: not a project: there is no everloop.toml here (`everloop init NAME` makes one)"
        )


def test_a_wrong_key_is_told_with_its_line(run: Run, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    text = (folder / "everloop.toml").read_text()
    (folder / "everloop.toml").write_text(text.replace("horizon", "horizn"))
    code, _, err = run("backtest", "--project", str(folder))
    assert code == 2
    assert err.strip().endswith("everloop.toml:13: unknown key 'horizn' in [training] (did you mean 'horizon'?)")


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda p: p.write_text(p.read_text() + "1,2,3,4,5,6,7,8\n"), "cannot be read: "),
        (lambda p: p.write_text(p.read_text().replace("time,a", "when,a", 1)), "[data] time = 'time': no such column"),
        (lambda p: p.write_text(""), "the file is empty"),
        (lambda p: p.unlink(), "no file matches"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00\x01" * 50), "cannot be read: "),
    ],
    ids=["broken line", "missing column", "empty", "none", "no text"],
)
def test_data_that_cannot_be_used(run: Run, tmp_path: Path, break_it: Callable[[Path], object], sentence: str) -> None:
    folder = write_project(tmp_path / "project")
    break_it(folder / "data" / "history.csv")
    code, out, err = run("backtest", "--project", str(folder), "--out", str(tmp_path / "out"))
    assert (code, out) == (1, "")
    assert sentence in err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_demo_without_its_file(run: Run, tmp_path: Path) -> None:
    code, out, err = run("demo", "--data", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert err.strip().endswith(f"error: --data: there is no file {tmp_path / 'none.csv'}")


def test_a_demo_on_another_kind_of_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    code, out, err = run("demo", "--data", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "out"))
    assert (code, out) == (1, "")
    assert "dteday" in err.strip().splitlines()[-1]


def test_a_port_in_use(run: Run, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    open_workspace(folder).close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, err = run("serve", "--project", str(folder), "--port", port)
    assert code == 3
    assert f"port {port}" in err


def test_listening_to_others_needs_a_token(run: Run, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    code, _, err = run("serve", "--project", str(folder), "--host", "0.0.0.0")
    assert code == 2
    assert "give a token with --token-file" in err


@pytest.mark.slow
def test_a_full_disk_stops_the_controller_and_space_lets_it_go_on(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    (folder / ".everloop").mkdir()
    store = Store(f"sqlite:///{folder / '.everloop' / 'store.db'}")
    post(store, Event("clock-1", CLOCK, "test", 1_707_000_000.0))
    command = [sys.executable, "-m", "everloop.cli", "controller", "--project", str(folder), "--clock", "event"]

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    full = subprocess.run(command, preexec_fn=no_room, capture_output=True, text=True, timeout=120, check=False)
    assert full.returncode == 3
    assert full.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in full.stderr
    roomy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while (outcome := result(store, "clock-1")) is None:
        assert roomy.poll() is None, roomy.stderr and roomy.stderr.read()
    roomy.terminate()
    roomy.communicate(timeout=60)
    assert outcome == {"generation": 1}
    assert [v["id"] for v in store.rows(sa.select(tables.model_version))] == ["v1"]
    assert not [p for p in os.listdir(folder / ".everloop" / "bundles") if "partial" in p]
    store.close()


def seconds_in(value: Any, name: str = "") -> Iterator[str]:
    """Return the fields that hold a number of this century's seconds."""
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from seconds_in(one, f"{name}.{key}")
    elif isinstance(value, int | float) and 9e8 < value < 4e9:
        yield name


def serve_and_watch(folder: Path) -> None:
    """Journal half a day of traffic, and let the monitor look at it a month later."""
    with opened(folder) as workspace, contextlib.closing(Writer(workspace.journal)) as writer:
        for hour in range(12):
            moment = parse_time(f"2024-03-01T{hour:02}:00:00Z")
            inputs = {name: [float(hour)] for name in ("a", "b", "hour")}
            answer = Prediction(workspace.name, "v1", inputs, {"prediction": [1.0]})
            writer.append("prediction", new_id(moment), moment, msgspec.json.encode(answer))
        writer.flush()
        with contextlib.closing(Monitor(workspace)) as monitor:
            monitor.step(parse_time("2024-03-31T00:00:00Z"))


def test_every_verb_that_prints_has_json_that_is_json(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "mine")
    code, out, _ = run("init", place, "--target", "y", "--time", "time", "--json")
    assert (code, json.loads(out)["committed"]) == (0, True)
    assert 'target = "y"' in (tmp_path / "mine" / "everloop.toml").read_text()
    rows = tmp_path / "rows.csv"
    history(days=40).to_csv(rows, index=False)

    def told(*arguments: str) -> Any:
        code, out, err = run(*arguments, "--project", place, "--json")
        assert code == 0, err
        value = json.loads(out)
        assert not list(seconds_in(value)), f"{arguments}: times are text"
        return value

    assert told("data", "add", str(rows))["rows"] == 480
    first = told("run", "--explain-cache")
    assert first["champion"] == "v1"
    assert {one["step"]: one["why"] for one in first["cache"]}["train"] == "it was never computed before"
    (tmp_path / "mine" / "helper.py").write_text("# not committed yet")
    code, _, err = run("run", "--reason", "again", "--project", place)
    assert code == 0
    assert "note: the code has changes that no commit holds: the version will name " in err
    assert told("show", "v2")["links"]["run"]
    assert told("run", "--step", "judge")["status"] == "finished"
    assert "nothing is stored\nJudged(metrics={" in run("run", "--step", "judge", "--project", place)[1]
    assert told("show", "v2")["record"]["commit"].endswith("-dirty")
    assert told("rollback")["champion"] == "v1"
    assert told("deploy", "v2", "--strategy", "replace")["champion"] == "v2"
    assert told("promote", "v1")["champion"] == "v1"
    assert [row["id"] for row in told("data", "log")[:1]] == ["data-1"]  # the same rows are the same version
    assert told("data", "diff")["after"] == "now"
    assert told("data", "checkout", "data-1", "--out", str(tmp_path / "x.csv"))["place"] == str(tmp_path / "x.csv")
    assert told("data", "remote", str(tmp_path / "remote"))["remote"] == str(tmp_path / "remote")
    assert told("data", "push")["files"] == 3
    assert told("status")["champion"] == "v1"
    assert [v["version"] for v in told("deployment", "show")["versions"]] == ["v1"]
    assert "champion" in run("deployment", "show", "--project", place)[1]
    assert told("show", "v1")["id"] == "v1"
    assert told("evaluate", "v1")["evaluation"]["start"].startswith("2024-")
    assert told("card", "v1")["manifest"]["window"]["start"].startswith("2024-")
    serve_and_watch(tmp_path / "mine")
    (freshness,) = (one for one in told("drift")["signals"] if one["name"] == "freshness")
    assert freshness["evidence"]["newest_prediction"] == "2024-03-01T11:00:00Z"
    assert told("drift", "freshness")["signals"] == [freshness]
    assert told("show", freshness["id"])["record"] == freshness
    code, _, err = run("drift", "--plot", str(tmp_path / "none" / "x.png"), "--project", place)
    assert (code, "cannot be written (No such file or directory): name a file in" in err) == (2, True)
    assert told("drift", "--history")[-1]["from"].startswith("2024-03-")
    assert told("audit", "seal")["time"] == told("audit", "verify")["sealed_at"]
    assert told("gc", "--older", "0s", "--dry-run")["removed"] is False
    assert "0 artifacts" in run("gc", "--size", "9GB", "--project", place)[1]
    assert run("doctor", "--project", place, "--json")[1].startswith("[")
    code, _, err = run("approve", "v22", "--project", place)
    assert (code, err.splitlines()[-1]) == (2, "error: no version of model 'mine' 'v22' (did you mean 'v2'?)")


def test_data_verbs_talk_to_people_too(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "mine")
    run("init", place, "--target", "y", "--time", "time")
    assert "none yet" in run("data", "log", "--project", place)[1]
    history(days=40).to_csv(tmp_path / "rows.csv", index=False)
    out = run("data", "add", str(tmp_path / "rows.csv"), "--project", place)[1]
    assert "+  { name = " in out
    assert "480 rows in rows.csv: version " in out
    assert "data: add rows.csv" in run("data", "log", "--project", place)[1].replace("\n", "")
    assert "after" in run("data", "diff", "--project", place)[1]
    code, _, err = run("data", "push", "--project", place)
    assert (code, err.splitlines()[-1]) == (2, "error: there is no remote: name one with `everloop data remote URL`")
    (tmp_path / "mine" / "data" / "x.csv").write_text("1")
    code, _, err = run("data", "checkout", "HEAD", "--project", place)
    assert (code, "holds changes that no version has" in err) == (2, True)


def test_the_shell_completes_versions_and_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completion.templates() == ["adult", "bike-sharing", "digits", "houses", "minimal", "sms-spam", "videos"]
    monkeypatch.chdir(tmp_path)
    assert completion.versions() == []
    monkeypatch.chdir(write_project(tmp_path / "project"))
    ask(Path(), RETRAIN, {})
    environment = os.environ | {
        "_EVERLOOP_COMPLETE": "complete_bash", "COMP_WORDS": "everloop promote v", "COMP_CWORD": "2"
    }  # fmt: skip
    command = [Path(sys.executable).with_name("everloop")]
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip() == "v1"
