"""The page on which a person labels: rows one by one, each label written at once, taken by nobody else."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from tests.loop.labels.test_labelling import project

from everloop.errors import UsageError
from everloop.inference.media import packed, text_of
from everloop.loop.labels import files
from everloop.loop.labels.importing import server_of
from everloop.loop.labels.page import picture
from everloop.loop.labels.proposing import propose
from everloop.loop.labels.server import LabelApp
from everloop.loop.workspace import opened

HOST = "127.0.0.1:8095"


@contextlib.asynccontextmanager
async def page_of(folder: Path, rows: pd.DataFrame | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Ask the application itself, as a browser does."""
    path = folder.parent / "to-label.csv"
    with opened(folder) as workspace:
        files.write(propose(workspace, folder.parent / "pool.csv", 3).rows if rows is None else rows, path)
        app = LabelApp(workspace, path, server_of(workspace.settings), lambda: 1.8e9)
        app.hosts = {HOST}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            yield client


def labels(folder: Path) -> list[Any]:
    return pd.read_csv(folder.parent / "to-label.csv", keep_default_na=False)["y"].tolist()


@pytest.mark.asyncio
async def test_a_person_labels_row_by_row_and_makes_a_version(labelled: Path) -> None:
    folder = labelled
    async with page_of(folder) as client:
        first = await client.get("/")
        assert first.status_code == 200
        assert "0 of 3 labelled" in first.text
        assert "the two likeliest classes have" in first.text
        assert re.findall(r'name="label" value="(\w+)" accesskey="(\d)"', first.text) == [("no", "1"), ("yes", "2")]
        assert first.headers["content-security-policy"].startswith("default-src 'none'")

        taken = await client.post("/label", data={"row": "0", "label": "yes"})
        assert (taken.status_code, taken.headers["location"]) == (303, "/?after=0")
        assert labels(folder) == ["yes", "", ""]
        left = await client.get("/?after=0")
        assert 'name="row" value="1"' in left.text
        skipped = await client.get("/?after=1")
        assert 'name="row" value="2"' in skipped.text
        around = await client.get("/?after=2")
        assert 'name="row" value="1"' in around.text
        again = await client.get("/?row=0")
        assert "y (now yes)" in again.text

        for data, told in [
            ({"row": "1", "label": "maybe"}, "&#x27;maybe&#x27; is no label of this project"),
            ({"row": "1"}, "&#x27;&#x27; is no label of this project"),
            ({"row": "9", "label": "no"}, "there is no row &#x27;9&#x27;"),
        ]:
            refused = await client.post("/label", data=data)
            assert (refused.status_code, told in refused.text) == (400, True), told
        for place in (1, 2):
            await client.post("/label", data={"row": str(place), "label": "no"})
        assert "No row is left." in (await client.get("/")).text
        done = await client.post("/import")
        assert re.search(r"3 labels in labels-\w+\.csv: version \w{10}", done.text)
        assert len(list((folder / "data").glob("labels-*.csv"))) == 1


@pytest.mark.asyncio
async def test_other_hosts_and_other_sites_are_refused(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", rows=0)
    async with page_of(folder) as client:
        made_to_point_here = await client.get("/", headers={"host": "evil.example:8095"})
        assert made_to_point_here.status_code == 403
        for origin in ("http://evil.example", "null"):
            foreign = await client.post("/label", data={"row": "0", "label": "yes"}, headers={"origin": origin})
            assert (foreign.status_code, "from this page only" in foreign.text) == (403, True)
        assert labels(folder) == ["", "", ""]
        own = await client.post("/label", data={"row": "0", "label": "yes"}, headers={"origin": f"http://{HOST}"})
        assert own.status_code == 303
        assert (await client.get("/nothing")).status_code == 404
        assert (await client.post("/label", content=b"x" * (2 << 20))).status_code == 413


@pytest.mark.asyncio
async def test_before_there_are_classes_a_field_takes_any_and_what_rows_hold_is_escaped(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", rows=0)
    rows = pd.DataFrame({"text": ["<script>alert(1)</script>", "007"], "y": [None, None]})
    async with page_of(folder, rows) as client:
        shown = (await client.get("/")).text
        assert "&lt;script&gt;" in shown
        assert "<script>" not in shown
        assert '<input name="label" list="known"' in shown
        await client.post("/label", data={"row": "0", "label": '"><b>'})
        assert labels(folder)[0] == '"><b>'
        assert "<b>" not in (await client.get("/?row=0")).text
        written = pd.read_csv(tmp_path / "to-label.csv", dtype=str)
        assert written["text"].tolist() == ["<script>alert(1)</script>", "007"]


def test_pictures_and_videos_are_shown() -> None:
    pytest.importorskip("PIL")
    image = packed(np.zeros((4, 4), np.uint8))
    assert picture(image).startswith('<img src="data:image/png;base64,')
    assert picture(packed(np.zeros((3, 4, 4, 1), np.uint8))).count("<img") == 3
    assert picture(text_of(b"\xff\xd8\xff")).startswith('<img src="data:image/jpeg')
    assert picture(text_of(b"\0\0\0\x18ftypisom")).startswith('<video controls loop src="data:video/mp4')


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", rows=0)
    with opened(folder) as workspace:
        with pytest.raises(UsageError, match="labels are written into"):
            LabelApp(workspace, tmp_path / "rows.parquet", server_of(workspace.settings))
        with pytest.raises(UsageError, match="`everloop label next` writes one"):
            LabelApp(workspace, tmp_path / "nothing.csv", server_of(workspace.settings))


@pytest.mark.slow
def test_the_command_serves_on_this_machine_only(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", rows=0)
    pd.DataFrame({"text": ["a", "b"], "y": [None, None]}).to_csv(tmp_path / "to-label.csv", index=False)
    command = [sys.executable, "-m", "everloop.cli", "label", "serve", str(tmp_path / "to-label.csv"), "--port", "0"]
    process = subprocess.Popen([*command, "--project", str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = process.stdout.readline().strip()
        url = told.removeprefix("label to-label.csv at ")
        assert url.startswith("http://127.0.0.1:")
        assert "0 of 2 labelled" in httpx.get(url).text
        answer = httpx.post(f"{url}/label", data={"row": "1", "label": "x"}, follow_redirects=True)
        assert "1 of 2 labelled" in answer.text
        assert labels(folder) == ["", "x"]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
