"""What is written, a real TensorBoard reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import tensorboardX
from tests.shippers.sites import answers, free_port

from everloop.tracking import RunRecord, write_events
from everloop.types import Task

Trained = Callable[[Task], RunRecord]


@pytest.mark.slow
def test_a_real_tensorboard_reads_curves_histograms_and_the_graph(tmp_path: Path, trained: Trained) -> None:
    record, port = trained("regression"), free_port()
    write_events(tmp_path / "tensorboard", record)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path / "tensorboard"), "--port", str(port)]
    url = f"http://127.0.0.1:{port}/data/plugin/scalars"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--load_fast=false"], stdout=log, stderr=log)
    try:
        answers(f"{url}/tags", process)
        run = f"toy/{record.id}"
        while not (tags := httpx.get(f"{url}/tags").json()):
            assert process.poll() is None
        names = {f"loss/{c.name}" for c in record.curves} | {f"metrics/{name}" for name in record.metrics}
        assert set(tags[run]) == names
        for curve in record.curves:
            told = httpx.get(f"{url}/scalars", params={"run": run, "tag": f"loss/{curve.name}"}).json()
            assert [step for _, step, _ in told] == list(curve.steps)
            assert [value for *_, value in told] == pytest.approx(list(curve.values), rel=1e-6)
            assert told[0][0] == record.finished
        plugins = url.removesuffix("/scalars")
        shown = {f"out_of_time/{name}" for name in ("answer", "truth", "error")}
        assert set(httpx.get(f"{plugins}/histograms/tags").json()[run]) == shown
        asked = {"run": run, "tag": "out_of_time/error"}
        parts = httpx.get(f"{plugins}/histograms/histograms", params=asked).json()
        assert record.judged is not None
        rows = sum(count for _, _, bins in parts for *_, count in bins)
        assert (len(parts), rows) == (20, pytest.approx(len(record.judged.times)))
        drawn = httpx.get(f"{plugins}/graphs/graph", params={"run": run, "conceptual": "false"}).text
        assert record.bundle is not None
        for column in record.bundle.manifest.inputs:
            assert f'name: "{column.name}"' in drawn
        assert 'op: "TreeEnsembleRegressor"' in drawn
    finally:
        process.terminate()
        process.wait()


def test_it_is_written_whole_or_not_at_all(tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    record, folder = trained("regression"), tmp_path / "tensorboard"
    real = tensorboardX.SummaryWriter.add_scalar
    left = [5]

    def full(self: object, *args: object, **kwargs: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(28, "No space left on device")
        real(self, *args, **kwargs)

    monkeypatch.setattr(tensorboardX.SummaryWriter, "add_scalar", full)
    with pytest.raises(OSError, match="No space"):
        write_events(folder, record)
    assert not folder.exists()
    place = write_events(folder, record)
    (file,) = place.iterdir()
    before = file.read_bytes()
    assert write_events(folder, record) == place
    assert [p.read_bytes() for p in place.iterdir()] == [before]
    assert [p.name for p in folder.iterdir()] == ["toy"]
