"""A project whose predictions and decisions are searched in Elasticsearch."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.elastic import elastic_server
from tests.shippers.sites import tracked_project
from tests.shippers.test_elastic import prediction, write

from everloop.errors import SystemError_, UsageError
from everloop.loop.elastic import set_up
from everloop.loop.tracking import run_tracking
from everloop.loop.workspace import opened
from everloop.store import outbox


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tracked_project(tmp_path / "toy", "mlflow = false\ntensorboard = false")
    with opened(folder) as workspace:
        write(workspace.journal, prediction("p1", 2), prediction("p2"))
        with workspace.store.begin() as connection:
            connection.execute(outbox.insert().values(kind="decision", time=1.7e9, payload={"id": "d-1"}))
    return folder


def settle(project: Path, lines: str) -> None:
    place = project / "everloop.toml"
    place.write_text(f"{place.read_text().partition('[elastic]')[0]}\n[elastic]\n{lines}\n")


def test_tracking_brings_journal_and_changes(project: Path) -> None:
    with elastic_server() as server:
        settle(project, f"url = '{server.url}'\nindex = 'ml'")
        for _ in range(2):
            run_tracking(project, once=True)
        assert sorted(server.documents) == [
            ("ml-changes-2023.11", "toy/changes/decision/1"),
            ("ml-predictions-2023.11", "toy/predictions/p1/0"),
            ("ml-predictions-2023.11", "toy/predictions/p1/1"),
            ("ml-predictions-2023.11", "toy/predictions/p2/0"),
        ]
        assert len(server.requests) == 2  # the second time nothing was left


def test_a_server_that_refuses_is_said_and_nothing_is_lost(project: Path) -> None:
    with elastic_server() as server:
        settle(project, f"url = '{server.url}'")
        server.product = None
        with pytest.raises(SystemError_, match=r"1 changes and \d+ bytes wait for Elasticsearch \(.*they are kept"):
            run_tracking(project, once=True, patience=0.01)
        server.product = "Elasticsearch"
        run_tracking(project, once=True)
        assert len(server.documents) == 4


def test_a_key_that_is_not_there_is_named(project: Path) -> None:
    settle(project, "url = 'http://127.0.0.1:1'\napi_key = 'EVERLOOP_TEST_NO_SUCH_KEY'")
    with pytest.raises(UsageError, match="no variable EVERLOOP_TEST_NO_SUCH_KEY"):
        run_tracking(project, once=True)


def test_setup_puts_policy_and_template(project: Path) -> None:
    with elastic_server() as server:
        settle(project, f"url = '{server.url}'")
        with opened(project) as workspace:
            assert set_up(workspace, 30) == ["_ilm/policy/everloop", "_index_template/everloop"]
        assert server.put["/_ilm/policy/everloop"]["policy"]["phases"]["delete"]["min_age"] == "30d"
        put = server.put["/_index_template/everloop"]
        assert "everloop-predictions-*" in put["index_patterns"]
        assert put["template"]["settings"]["index"]["lifecycle"]["name"] == "everloop"
        server.product = None
        with opened(project) as workspace, pytest.raises(SystemError_, match="does not take the setup"):
            set_up(workspace, 30)


def test_opensearch_has_its_own_policy_and_takes_the_same_documents(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERLOOP_TEST_SEARCH", "me:secret")
    with elastic_server() as server:
        server.product = None
        settle(project, f"url = '{server.url}'\nserver = 'opensearch'\napi_key = 'EVERLOOP_TEST_SEARCH'")
        with opened(project) as workspace:
            names = ["_plugins/_ism/policies/everloop", "_index_template/everloop"]
            assert set_up(workspace, 30) == names
        (kept, gone) = server.put["/_plugins/_ism/policies/everloop"]["policy"]["states"]
        assert kept["transitions"] == [{"state_name": "gone", "conditions": {"min_index_age": "30d"}}]
        assert gone["actions"] == [{"delete": {}}]
        mapped = server.put["/_index_template/everloop"]["template"]
        assert "settings" not in mapped
        assert mapped["mappings"]["properties"]["everloop"]["properties"]["payload"] == {"type": "flat_object"}
        run_tracking(project, once=True)
        assert len(server.documents) == 4
        settle(project, f"url = '{server.url}'\nserver = 'opensearch'\napi_key = 'HOME'")
        with opened(project) as workspace, pytest.raises(UsageError, match="its variable holds user:password"):
            set_up(workspace, 30)
