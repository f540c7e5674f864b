"""From a hundred labelled messages on: what is served is labelled where it teaches most, and the next version knows."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from tests.buckets import free_port
from tests.test_recipes import DATA, served

from everloop import Project
from everloop.errors import UsageError
from everloop.loop.labels import files
from everloop.loop.labels.importing import import_labels, server_of
from everloop.loop.labels.proposing import propose
from everloop.loop.labels.served import propose_served
from everloop.loop.workspace import opened

MESSAGES = DATA / "sms-spam" / "SMSSpamCollection"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not MESSAGES.is_file(), reason="sms-spam is not on this machine"),
]


def test_what_was_served_and_what_was_not_is_labelled_and_trained_on(tmp_path: Path) -> None:
    rows = pd.read_csv(MESSAGES, sep="\t", keep_default_na=False, quoting=3)
    rows = rows.sample(frac=1.0, random_state=np.random.RandomState(0)).drop_duplicates("SMS").reset_index(drop=True)
    truth = dict(zip(rows["SMS"], rows["Label"], strict=True))
    rows[:300].to_csv(tmp_path / "first.tsv", sep="\t", index=False)
    rows[300:1300][["SMS"]].to_csv(tmp_path / "pool.tsv", sep="\t", index=False)
    project = Project.create(tmp_path / "spam", "sms-spam")
    settings = project.folder / "everloop.toml"
    text = settings.read_text().replace("min = 0.95", "min = 0.8")
    settings.write_text(f"{text}\n[serving]\nport = {free_port()}\n[tracking]\nmlflow = false\ntensorboard = false\n")
    project = Project.open(project.folder)
    project.data.add(tmp_path / "first.tsv")
    assert project.run()["version"] == "v1"

    with served(project):
        _wait(f"http://127.0.0.1:{project.settings.serving.port}/v2/health/ready")
        asked = rows[1300:2300][["SMS"]].reset_index(drop=True)
        answers = project.predict(asked)
        with opened(project.folder) as workspace:
            found = propose_served(workspace, 40)
            assert (found.strategy, found.candidates) == ("watched", 1000)
            assert found.rows["label_confidence"].head(20).max() < np.median(answers["probability"].map(max))
            for strategy in ("uncertainty", "mixed", "committee", "diversity"):
                assert len(propose_served(workspace, 5, strategy).rows) == 5
            path = tmp_path / "to-label.csv"
            files.write(found.rows.assign(Label=found.rows["SMS"].map(truth)), path)
            client = server_of(workspace.settings)
            assert import_labels(workspace, path, now=2e9, client=client).labels == 40
            left = propose_served(workspace, 2000)
            assert left.candidates == 960
            taken = set(zip(found.rows["prediction_id"], found.rows["row"], strict=True))
            assert not taken & set(zip(left.rows["prediction_id"], left.rows["row"], strict=True))

    with opened(project.folder) as workspace:
        chosen = propose(workspace, tmp_path / "pool.tsv", 30)
        assert chosen.strategy == "mixed"
        files.write(chosen.rows.assign(Label=chosen.rows["SMS"].map(truth)), tmp_path / "to-label.tsv")
        done = import_labels(workspace, tmp_path / "to-label.tsv", now=2e9, client=client)
        assert done.labels == 30
        with pytest.raises(UsageError, match="no strategy 'watched'"):
            propose(workspace, tmp_path / "pool.tsv", 30, "watched")
    assert project.run()["version"] == "v2"
    assert len(project.data.table("data-2")) == 300 + 40 + 30


def _wait(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=30).is_success:
                return
        time.sleep(0.2)
    raise AssertionError(f"{url} did not answer")
