"""Steps on a Ray cluster of two nodes: resources, a node that dies, artifacts in object storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.buckets import s3_server
from tests.pipelines.executors import steps

from everloop.errors import UsageError
from everloop.pipelines import ArtifactStore, Engine, Resources
from everloop.pipelines.executors import StepTask
from everloop.pipelines.executors.ray import RayExecutor
from everloop.pipelines.step import Step
from everloop.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_server("everloop") as environment:
        for name, value in environment.items():  # before the cluster: its workers inherit them
            patch.setenv(name, value)
        yield "s3://everloop/artifacts"


@pytest.fixture(scope="module")
def executor(bucket: str, cluster: Any) -> Iterator[RayExecutor]:
    executor = RayExecutor(ArtifactStore(bucket), Path.cwd(), cluster.address)
    yield executor
    executor.close()


def test_a_run_uses_both_nodes_and_objects(executor: RayExecutor, bucket: str, store: Store, tmp_path: Path) -> None:
    artifacts = ArtifactStore(bucket)
    engine = Engine(store, artifacts, executor, tmp_path, lambda: 1.0)
    run = engine.run(steps.nodes_seen, {"names": ["a", "b", "c"], "folder": str(tmp_path)})
    assert len(set(run.value)) == 2  # there is room for all three on both nodes alone
    again = engine.run(steps.nodes_seen, {"names": ["a", "b", "c"], "folder": str(tmp_path)})
    assert {execution.status for execution in again.executions} == {"cached", "ran"}


def test_a_step_waits_for_its_resources(executor: RayExecutor) -> None:
    import ray

    asked = Step(steps.place.function, resources=Resources(cpu=1, gpu=1))
    future = executor.submit(StepTask("place", asked, {"_": b"1"}))
    with pytest.raises(TimeoutError):
        future.result(3)
    assert ray.cluster_resources().get("GPU", 0) == 0


def test_a_step_whose_node_dies_runs_again(executor: RayExecutor, cluster: Any, bucket: str, tmp_path: Path) -> None:
    """It has room on the second node alone."""
    inputs = {"folder": b'"%b"' % str(tmp_path).encode()}
    future = executor.submit(StepTask("begin", steps.begin_twice, inputs))
    while not (tmp_path / "began-1").exists():
        assert not future.done()
    cluster.remove_node(cluster.second, allow_graceful=False)
    cluster.second = cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20)
    assert ArtifactStore(bucket).get(future.result(180).outputs["return"]) == 2


@pytest.mark.usefixtures("executor")
def test_a_folder_that_other_nodes_lack_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    with pytest.raises(UsageError, match=r"the artifacts lie in a folder .* set \[storage\] artifacts to a URL"):
        RayExecutor(ArtifactStore("artifacts", tmp_path), tmp_path)
