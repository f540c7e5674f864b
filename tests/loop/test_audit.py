"""The journal as evidence: what is behind a prediction, what was changed, what is erased, what is kept."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.loop.audited import audited, ride, serve
from tests.projects import write_project
from tests.replays import Replayed, replay

from everloop.errors import NotFoundError, UsageError
from everloop.journal import Position, Reader
from everloop.journal.machine import this_machine
from everloop.journal.search import find
from everloop.journal.segments import path_of, segments
from everloop.loop.audit import audit, erase, retain, seal, verify
from everloop.loop.controller import ControllerState
from everloop.loop.keeping import Keeper
from everloop.loop.records import load_state, save_state
from everloop.loop.workspace import Workspace, opened

NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    folder = write_project(tmp_path_factory.mktemp("toy") / "project", days=40)
    with replay(folder, tmp_path_factory.mktemp("state")) as replayed:
        yield replayed


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with audited(tmp_path) as opened:
        yield opened


def ids(done: Replayed) -> list[str]:
    with contextlib.closing(Reader(done.workspace.journal)) as reader:
        return list(dict.fromkeys(record.id for record in reader.poll(100)))


def test_a_prediction_shows_all_that_is_behind_it(done: Replayed) -> None:
    id = ids(done)[0]
    found = audit(done.workspace, id.upper())
    assert [r["kind"] for r in found.records] == ["prediction", "feedback"]
    assert found.links["version"] == ["v1"]
    assert set(found.links) >= {"run", "data version", "decision"}
    assert found.behind["v1"]["sha256"]
    assert found.behind[found.links["run"][0]]["pipeline"] == "retrain"
    assert found.behind["data-1"]["rows"] > 0
    assert (found.sealed, found.server) == (None, None)
    seal(done.workspace, NOW)
    assert audit(done.workspace, id).sealed == "2023-11-14T22:13:20Z"
    with pytest.raises(NotFoundError, match="no prediction 'v1'"):
        audit(done.workspace, "v1")


def test_what_may_hold_erased_rows_is_named(done: Replayed) -> None:
    id = ids(done)[3]
    found = erase(done.workspace, [id], None, None, "asked for", NOW)
    assert (found.ids, found.records, found.exported) == ([id], 2, 0)
    assert set(found.training_sets) <= {"data-1", "data-2", "data-3"}
    assert [r.get("erased") for r in audit(done.workspace, id).records] == [True, True]
    assert verify(done.workspace).wrong is None
    assert erase(done.workspace, [id], None, None, "again", NOW).records == 0


def test_the_server_that_answered_is_told(workspace: Workspace) -> None:
    (id,) = serve(workspace, [ride(1.0)])
    found = audit(workspace, id)
    assert found.server == msgspec.to_builtins(this_machine())
    assert list(found.behind) == ["v1", "run-1", "data-1"]


@pytest.mark.parametrize(
    ("ids", "column", "value"), [([], None, None), (["a"], "hour", "1"), ([], "hour", None), ([], None, "1")]
)
def test_it_must_be_said_what_to_erase(
    workspace: Workspace, ids: list[str], column: str | None, value: str | None
) -> None:
    with pytest.raises(UsageError, match="say which predictions"):
        erase(workspace, ids, column, value, "asked for", NOW)


def test_erasing_what_is_not_there(workspace: Workspace) -> None:
    serve(workspace, [ride(1.0)])
    with pytest.raises(NotFoundError, match="no prediction 'nobody'"):
        erase(workspace, ["nobody"], None, None, "asked for", NOW)
    assert erase(workspace, [], "hour", "99", "asked for", NOW).ids == []
    with pytest.raises(NotFoundError, match=r"no input of any prediction 'hours' \(did you mean 'hour'"):
        erase(workspace, [], "hours", "1", "asked for", NOW)


def test_retention_keeps_what_the_controller_has_not_read(workspace: Workspace) -> None:
    old, middle, new = (serve(workspace, [ride(1.0, time=day * 86_400.0)])[0] for day in (1, 2, 30))
    assert retain(workspace, 20 * 86_400.0, 31 * 86_400.0)["records"] == 0  # the controller has read nothing yet
    read_up_to(workspace, 3)
    assert retain(workspace, 20 * 86_400.0, 31 * 86_400.0) == {"records": 6, "before": "1970-01-12T00:00:00Z"}
    assert [bool(find(workspace.journal, id)) for id in (old, middle, new)] == [False, False, True]
    report = verify(workspace)
    assert (report.wrong, report.dropped, report.records) == (None, 6, 3)


def read_up_to(workspace: Workspace, segment: int) -> None:
    with workspace.store.begin() as connection:
        state = load_state(connection, "controller", ControllerState)
        state.watch.position = Position(segment, 0)
        save_state(connection, "controller", state)


def test_the_keeper_seals_in_its_time_and_tells_what_is_wrong(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(workspace, retains=True)
    serve(workspace, [ride(1.0)])
    keeper.look(NOW)
    serve(workspace, [ride(2.0)])
    keeper.look(NOW + 599)
    assert verify(workspace).unsealed == 3
    keeper.look(NOW + 600)
    assert verify(workspace).unsealed == 0
    serve(workspace, [ride(3.0)])
    newest = path_of(workspace.journal, segments(workspace.journal)[-1])
    newest.write_bytes(newest.read_bytes().replace(b'"hour":[3.0]', b'"hour":[4.0]'))
    with caplog.at_level(logging.ERROR):
        keeper.seal(NOW + 700)
    assert "is not sealed: record 8" in caplog.text
    assert str(verify(workspace).wrong).endswith("its kind, id, time, salt, digest or payload was changed")


def test_the_keeper_exports_before_it_drops(workspace: Workspace) -> None:
    serve(workspace, [ride(1.0, time=1.0)])
    serve(workspace, [ride(1.0, time=NOW)])
    read_up_to(workspace, 2)
    storage = msgspec.structs.replace(workspace.settings.storage, retention="30d", export="kept")
    with opened(workspace.folder) as again:
        again.settings = msgspec.structs.replace(again.settings, storage=storage)
        Keeper(again, retains=False).look(NOW)
        assert verify(again).dropped == 0
        Keeper(again, retains=True).look(NOW)
        assert verify(again).dropped == 3
        assert (again.folder / "kept" / "predictions" / "00000001.parquet").exists()
