"""`everloop gc` on a project: versions that may serve keep what they were made of; a controller is not disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loop.audited import audited, register
from tests.pipelines.test_lineage import reporting

from everloop import registry
from everloop.errors import BusyError
from everloop.loop.garbage import collect
from everloop.loop.lease import lease
from everloop.loop.workspace import Workspace
from everloop.pipelines import Engine, LocalExecutor


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with audited(tmp_path) as opened:
        yield opened


def run(workspace: Workspace, id: str, text: bytes) -> None:
    executor = LocalExecutor(workspace.artifacts)
    engine = Engine(workspace.store, workspace.artifacts, executor, workspace.folder, lambda: 10.0)
    engine.run(reporting, {"text": text}, run_id=id)


def test_only_what_no_version_needs_goes(workspace: Workspace) -> None:
    for id, text in (("kept", b"1 2"), ("kept-data", b"3 4"), ("old", b"5 6"), ("rejected", b"7 8")):
        run(workspace, id, text)
    with workspace.store.begin() as connection:
        for id in ("kept", "rejected"):
            register(connection, workspace, workspace.bundles / id, run=id)
        registry.set_stage(connection, workspace.name, "v5", "rejected", 11.0)
    before = collect(workspace, 99.0, remove=False)
    assert (before.artifacts, before.removed) == (10, False)
    assert collect(workspace, 99.0).artifacts == 10
    assert collect(workspace, 99.0).artifacts == 0
    for id, text in (("kept", b"1 2"), ("kept-data", b"3 4")):
        run(workspace, id, text)  # gives its outputs again
    assert collect(workspace, 5.0, most=0).artifacts == 0


def test_a_controller_that_runs_is_not_disturbed(workspace: Workspace) -> None:
    run(workspace, "old", b"5 6")
    with lease(workspace.path(workspace.settings.storage.lease)):
        assert collect(workspace, 99.0, remove=False).artifacts == 5
        with pytest.raises(BusyError, match="runs this project: stop it first"):
            collect(workspace, 99.0)
    assert collect(workspace, 99.0).artifacts == 5
