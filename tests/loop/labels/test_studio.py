"""Label Studio: tasks with suggestions go there, labels come back into the file; against a real one, started here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import numpy as np
import pandas as pd
import pytest
from tests.buckets import free_port
from tests.loop.labels.test_labelling import NOW, project
from typer.testing import CliRunner

from everloop.cli import app
from everloop.data import Schema
from everloop.errors import NotFoundError, SystemError_, UsageError
from everloop.inference.media import packed
from everloop.loop.labels import files
from everloop.loop.labels.importing import import_labels, server_of
from everloop.loop.labels.proposing import propose
from everloop.loop.labels.studio import labels_of, pull, push, tasks_of, view_of
from everloop.loop.workspace import opened
from everloop.pipelines.declared import Environment
from everloop.pipelines.environments import build
from everloop.types import Column

PINNED = "label-studio==1.23.2"
KEY = "0123456789abcdef0123456789abcdef01234567"
CLASSES = Schema((Column("a b", "float64"),), Column("y", "string"), "time", "classification", ("no", "<yes>"))
NUMBERS = Schema((Column("a", "float64"),), Column("y", "float64"), "time", "regression")


def test_the_view_shows_columns_and_asks_for_the_target(tmp_path: Path) -> None:
    view = ElementTree.fromstring(view_of(["a b", "shot"], {"shot": "image"}, "y", CLASSES))
    assert [(e.tag, e.get("name"), e.get("value")) for e in view if e.get("name") and e.tag != "Choices"] == [
        ("Text", "column0", "$column0"),
        ("Image", "shot", "$shot"),
    ]
    assert [e.get("value") for e in view.iter("Choice")] == ["no", "<yes>"]
    assert [e.get("value") for e in view.iter("Header")] == ["a b", "shot", "y"]
    assert ElementTree.fromstring(view_of(["a"], {}, "y", NUMBERS)).find("Number") is not None
    assert ElementTree.fromstring(view_of(["a"], {}, "y", None)).find("TextArea") is not None
    rows = pd.DataFrame({"a b": ["1"], "shot": [packed(np.zeros((2, 2), np.uint8))], files.SUGGESTED: ["no"]})
    [task] = tasks_of(rows.assign(**{files.CONFIDENCE: "0.6"}), ["a b", "shot"], {"shot": "image"}, CLASSES, tmp_path)
    assert task["data"]["column0"] == "1"
    assert task["data"]["shot"].startswith("data:image/png;base64,")
    [told] = task["predictions"]
    assert (told["score"], told["result"][0]["value"]) == (0.6, {"choices": ["no"]})


def test_the_newest_annotation_counts_and_strange_ones_are_told() -> None:
    def task(key: str, *told: tuple[str, dict[str, Any], bool]) -> dict[str, Any]:
        made = [{"updated_at": at, "result": [{"value": value}], "was_cancelled": left} for at, value, left in told]
        return {"data": {"everloop_row": key}, "annotations": made}

    tasks = [
        task("a", ("2", {"choices": ["<yes>"]}, False), ("1", {"choices": ["no"]}, False)),
        task("b", ("1", {"choices": ["no"]}, True)),
        task("c", ("1", {"choices": ["maybe"]}, False)),
        {"data": {}, "annotations": task("", ("1", {"choices": ["no"]}, False))["annotations"]},
        task("d"),
    ]
    assert labels_of(tasks, CLASSES) == ({"a": "<yes>"}, 1)
    assert labels_of([task("a", ("1", {"number": 3}, False))], NUMBERS) == ({"a": 3.0}, 0)
    assert labels_of([task("a", ("1", {"text": ["any"]}, False))], None) == ({"a": "any"}, 0)


def test_what_is_in_the_way_is_told(tmp_path: Path) -> None:
    folder, path = project(tmp_path / "project", rows=0), tmp_path / "to-label.csv"
    files.write(pd.DataFrame({"a": ["1"], "y": [None]}), path)
    nobody = f"http://127.0.0.1:{free_port()}"
    with opened(folder) as workspace:
        for url, title, key, told in [
            (nobody, "toy", "", "set LABEL_STUDIO_API_KEY to the token of your account there"),
            ("127.0.0.1:8080", "toy", KEY, "is no Label Studio: write it as http://HOST:PORT"),
            (nobody, "p", KEY, "the title 'p' is too short"),
        ]:
            with pytest.raises(UsageError, match=told):
                push(workspace, path, url, title, key)
        with pytest.raises(SystemError_, match=f"Label Studio at {nobody} cannot be reached: "):
            push(workspace, path, nobody, "toy", KEY)


@contextlib.contextmanager
def studio(folder: Path) -> Iterator[str]:
    """Run a real Label Studio, installed into an environment of its own; gives its URL."""
    program = build(Environment((PINNED,))).with_name("label-studio")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder.mkdir()
    command = [
        str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port),
        "--data-dir", str(folder), "--username", "a@example.org", "--password", "Pass-word-1",
        "--user-token", KEY, "--enable-legacy-api-token",
    ]  # fmt: skip
    quiet = {"LATEST_VERSION_CHECK": "false", "COLLECT_ANALYTICS": "false", "HOME": str(folder)}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | quiet)
        try:
            _wait(process, url, folder / "log.txt")
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 1200
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=30, follow_redirects=True).is_success:
                return
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])


def annotate(url: str, title: str, kind: str, column: str, values: list[dict[str, Any]]) -> list[int]:
    """Label the first tasks of a project, as a person there does; returns how many pre-annotations each task had."""
    with httpx.Client(base_url=url, headers={"authorization": f"Token {KEY}"}, timeout=60) as client:
        [found] = [one for one in client.get("/api/projects/").json()["results"] if one["title"] == title]
        told = client.get(f"/api/projects/{found['id']}/export?exportType=JSON&download_all_tasks=true").json()
        for task, value in zip(sorted(told, key=lambda task: task["id"]), values, strict=False):
            result = {"from_name": "label", "to_name": column, "type": kind, "value": value}
            client.post(f"/api/tasks/{task['id']}/annotations/", json={"result": [result]}).raise_for_status()
        return [len(task["predictions"]) for task in told]


def personal_token(url: str) -> str:
    answer = httpx.post(f"{url}/api/token/", headers={"authorization": f"Token {KEY}"}, timeout=60)
    return str(answer.json()["token"])


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_rows_go_to_a_real_label_studio_and_their_labels_become_a_version(tmp_path: Path) -> None:
    folder, path = project(tmp_path / "project"), tmp_path / "to-label.csv"
    with opened(folder) as workspace, studio(tmp_path / "studio") as url:
        files.write(propose(workspace, tmp_path / "pool.csv", 6).rows, path)
        with pytest.raises(UsageError, match="does not take the key: set LABEL_STUDIO_API_KEY to another"):
            push(workspace, path, url, "toy", KEY[::-1])
        with pytest.raises(NotFoundError, match="no project in Label Studio 'toy'"):
            pull(workspace, path, url, "toy", KEY)
        done = push(workspace, path, url, "toy", KEY)
        assert (done.tasks, done.known) == (6, 0)
        again = push(workspace, path, url, "toy", KEY)
        assert (again.tasks, again.known, again.project) == (0, 6, done.project)
        choices = [{"choices": [name]} for name in ("yes", "no", "yes", "no")]
        assert annotate(url, "toy", "choices", "time", choices) == [1] * 6
        arguments = ["label", "studio", "pull", str(path), "--url", url, "--project", str(folder)]
        told = CliRunner().invoke(app, arguments, env={"LABEL_STUDIO_API_KEY": KEY})
        assert told.stdout == f"4 labels in {path}\n", told.output
        assert files.as_written(path)["y"].tolist()[:4] == ["yes", "no", "yes", "no"]
        taken = import_labels(workspace, path, now=NOW, client=server_of(workspace.settings))
        assert (taken.labels, taken.open, taken.known) == (4, 2, 0)
        numbers_come_back(tmp_path / "numbers", url)
        pictures_come_back(tmp_path / "pictures", url, personal_token(url))


def numbers_come_back(place: Path, url: str) -> None:
    folder, path = project(place / "project", "regression"), place / "to-label.csv"
    with opened(folder) as workspace:
        files.write(propose(workspace, place / "pool.csv", 3).rows, path)
        assert push(workspace, path, url, "numbers", KEY).tasks == 3
        assert annotate(url, "numbers", "number", "time", [{"number": 3.5}]) == [1] * 3
        assert pull(workspace, path, url, "numbers", KEY).labels == 1
    assert files.as_written(path)["y"].tolist()[0] == "3.5"


def pictures_come_back(place: Path, url: str, token: str) -> None:
    """Before there is a schema a text is asked for; the token is a personal one."""
    folder, path = project(place / "project", rows=0), place / "to-label.csv"
    with (folder / "everloop.toml").open("a") as file:
        file.write('\n[data.columns.shot]\nkind = "image"\nsize = [6, 6]\nmode = "L"\n')
    shots = [packed(np.full((6, 6), 60 * n, np.uint8)) for n in range(3)]
    files.write(pd.DataFrame({"shot": shots, "a b": ["x", "y", "z"], "y": [None] * 3}), path)
    with opened(folder) as workspace:
        assert push(workspace, path, url, "pictures", token).tasks == 3
        assert annotate(url, "pictures", "textarea", "shot", [{"text": ["cat"]}]) == [0] * 3
        assert pull(workspace, path, url, "pictures", token).labels == 1
    assert files.as_written(path)["y"].tolist()[0] == "cat"
