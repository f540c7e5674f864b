"""A journalled prediction, repeated: equal bit for bit where that is promised, and else told how far it is off."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from tests.loop.audited import audited, purchase, ride, serve

from everloop.errors import NotFoundError, UsageError
from everloop.journal import Writer
from everloop.journal.machine import this_machine
from everloop.loop.audit import erase
from everloop.loop.repeating import repeat
from everloop.loop.workspace import Workspace
from everloop.types import Prediction, new_id

NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with audited(tmp_path_factory.mktemp("repeated")) as opened:
        yield opened


def test_equal_bits_are_promised_and_kept(workspace: Workspace) -> None:
    rides, shop = serve(workspace, [ride(0.1)]), serve(workspace, [purchase(0.3, "Oslo")], "v3")
    for id, version in ((rides[0], "v1"), (shop[0].upper(), "v3")):
        found = repeat(workspace, id)
        assert (found.version, found.on, found.rows) == (version, version, 1)
        assert (found.promised, found.because, found.equal, found.kept) == (True, [], True, True)
        assert found.largest_difference == 0.0
        assert found.repeated == found.outputs


def test_another_version_is_compared(workspace: Workspace) -> None:
    (id,) = serve(workspace, [ride(2.0)])
    found = repeat(workspace, id, "v2")
    assert (found.promised, found.because, found.equal, found.kept) == (False, ["version v2, then v1"], False, True)
    assert found.largest_difference == 1000.0
    with pytest.raises(NotFoundError, match="no version of model 'toy' 'v9'"):
        repeat(workspace, id, "v9")


def test_another_machine_promises_nothing(workspace: Workspace) -> None:
    (id,) = serve(workspace, [ride(2.0)])
    other = msgspec.structs.replace(this_machine(), onnxruntime="0.1", threads=8)
    found = repeat(workspace, id, machine=other)
    assert not found.promised
    assert [reason.split(" ")[0] for reason in found.because] == ["ONNX", "threads"]


def test_an_answer_that_breaks_the_promise_is_told(workspace: Workspace) -> None:
    serve(workspace, [ride(2.0)])
    wrong = Prediction(workspace.name, "v1", {"hour": [1.0], "temp": [0.5], "hum": [0.25]}, {"prediction": [9.0]})
    corrected = msgspec.structs.replace(wrong, level=(2.0,), raw={"prediction": [1.75]}, outputs={"prediction": [3.5]})
    batched = msgspec.structs.replace(wrong, batch=7)
    ids = [new_id(1.0), new_id(2.0), new_id(3.0)]
    writer = Writer(workspace.journal)
    for one, prediction in zip(ids, (wrong, batched, corrected), strict=True):
        writer.append("prediction", one, 1.0, msgspec.json.encode(prediction))
    writer.close()
    found = repeat(workspace, ids[0])
    assert (found.promised, found.equal, found.kept, found.largest_difference) == (True, False, False, 7.25)
    assert repeat(workspace, ids[2]).equal  # what a plan's level made of it is no part of the model
    together = repeat(workspace, ids[1])
    assert together.because == ["batch of 1 rows, then 7 of several requests"]


def test_what_cannot_be_repeated(workspace: Workspace) -> None:
    (id,) = serve(workspace, [ride(2.0)])
    with pytest.raises(NotFoundError, match="no prediction 'nothing'"):
        repeat(workspace, "nothing")
    erase(workspace, [id], None, None, "asked for", NOW)
    with pytest.raises(UsageError, match="was erased: its inputs are gone"):
        repeat(workspace, id)
