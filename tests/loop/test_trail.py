from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.projects import write_project
from tests.replays import Replayed, replay

from everloop import store as tables
from everloop.errors import NotFoundError
from everloop.journal import Reader
from everloop.loop.trail import show, status
from everloop.loop.workspace import opened


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    folder = write_project(tmp_path_factory.mktemp("toy") / "project")
    with replay(folder, tmp_path_factory.mktemp("state")) as replayed:
        yield replayed


def test_every_link_leads_both_ways(done: Replayed) -> None:
    ids = [
        row["id"]
        for table in (tables.decision, tables.rollout, tables.model_version, tables.data_version, tables.run)
        for row in done.rows(table)
    ]
    shown = {id: show(done.workspace, id) for id in ids}
    for id, one in shown.items():
        for linked in (other for others in one.links.values() for other in others):
            assert linked in shown
            back = [i for others in shown[linked].links.values() for i in others]
            either_way = id in back or {one.kind, shown[linked].kind} in ({"data version"}, {"rollout", "version"})
            assert either_way, f"{id} -> {linked}"


def test_a_prediction_leads_to_its_version_run_data_and_label(done: Replayed) -> None:
    with contextlib.closing(Reader(done.workspace.journal)) as reader:
        first = reader.poll(1)[0]
    shown = show(done.workspace, first.id)
    assert [r["kind"] for r in shown.record["records"]] == ["prediction", "feedback"]
    assert shown.record["records"][1]["value"] == pytest.approx(done.history.truth()[0])
    assert shown.links["version"] == ["v1"]
    assert shown.links["data version"] == ["data-1"]
    assert set(shown.links) >= {"run", "decision"}


def test_what_does_not_exist_is_told_with_a_close_match(done: Replayed) -> None:
    with pytest.raises(NotFoundError, match=r"no decision, rollout, .* 'data-9' \(did you mean 'data-\d'\?\)"):
        show(done.workspace, "data-9")
    with pytest.raises(NotFoundError, match="'018d0000-0000-7000-8000-000000000000'"):
        show(done.workspace, "018d0000-0000-7000-8000-000000000000")
    for wrong in ("", "whatever"):
        with pytest.raises(NotFoundError, match=f"prediction '{wrong}': give a whole id, such as d-3"):
            show(done.workspace, wrong)


def test_a_decision_shows_its_evidence_in_readable_times(done: Replayed) -> None:
    decision = next(d for d in done.rows(tables.decision) if d["evidence"].get("signals"))
    record = show(done.workspace, decision["id"]).record
    assert record["time"].endswith("Z")
    assert record["evidence"]["signals"][0]["start"].endswith("Z")


def test_the_status_says_what_is_served(done: Replayed, tmp_path: Path) -> None:
    told = status(done.workspace)
    champion = next(a["version"] for a in done.rows(tables.alias) if a["name"] == "champion")
    assert told["champion"] == champion
    assert sum(told["traffic"].values()) == pytest.approx(1.0)
    assert told["counts"]["version"] == len(done.rows(tables.model_version))
    assert told["controller"] is None
    with opened(write_project(tmp_path / "new")) as fresh:
        empty = status(fresh)
    assert (empty["champion"], empty["traffic"], empty["last_decision"]) == (None, {}, None)
