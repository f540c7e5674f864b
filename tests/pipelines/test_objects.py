"""Artifacts in object storage, on real local servers of both protocols."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from tests.pipelines.executors import steps

from everloop.errors import StepError
from everloop.pipelines import ArtifactStore, Engine, IsolatedExecutor, pipeline
from everloop.store import Store


@pytest.fixture
def remote(bucket: str) -> ArtifactStore:
    return ArtifactStore(f"{bucket}/artifacts")


@pytest.fixture
def executor(remote: ArtifactStore) -> Iterator[IsolatedExecutor]:
    executor = IsolatedExecutor(remote, slots=2)
    yield executor
    executor.close()


@pipeline
def halve(values: dict[str, object], below: float) -> steps.Parts:
    return steps.split(values, below)  # type: ignore[arg-type]


def test_frames_files_and_folders_come_back_whole(remote: ArtifactStore, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "guards").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph" * 100_000)
    (folder / "guards" / "outlier.onnx").write_bytes(b"guard")
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    kept, table = remote.put(folder), remote.put(frame)
    pd.testing.assert_frame_equal(remote.get(table), frame)
    assert (remote.get(kept) / "guards" / "outlier.onnx").read_bytes() == b"guard"
    assert remote.get(remote.put_list([table, table]))[1].equals(frame)
    again = ArtifactStore(remote.url)
    assert again.holds(kept)
    remote.remove(kept)
    assert not again.holds(kept)


def test_steps_in_other_processes_share_them(
    remote: ArtifactStore, executor: IsolatedExecutor, store: Store, tmp_path: Path
) -> None:
    engine = Engine(store, remote, executor, tmp_path, lambda: 1.0)
    run = engine.run(halve, {"values": {"x": np.array([1.0, 5.0])}, "below": 3.0})
    assert run.outputs["low"]["x"].tolist() == [1.0]
    assert engine.run(halve, {"values": {"x": np.array([1.0, 5.0])}, "below": 3.0}).executions[0].status == "cached"
    with fsspec.open(f"{remote.url}/{run.artifacts['low'].uri}", "wb") as file:
        file.write(b"damaged")
    assert engine.run(halve, {"values": {"x": np.array([1.0, 5.0])}, "below": 3.0}).executions[0].status == "ran"
    with pytest.raises(StepError, match="ufunc"):
        engine.run(halve, {"values": {"x": np.array(["a"])}, "below": 3.0})
