from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop import registry
from everloop import store as tables
from everloop.checks import Verdict
from everloop.errors import CheckError, NotFoundError, UsageError
from everloop.store import Connection, Store

PASSED = Verdict("gate", "pass", "rmse 58 against 119", {"rmse": 58.0}, (Verdict("rmse", "pass", "58 below 90"),))


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store("sqlite://")
    yield store
    store.close()


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    with store.begin() as connection:
        yield connection


def register(connection: Connection, number: int, model: str = "bike", **changes: Any) -> str:
    values: dict[str, Any] = {
        "bundle": f"bundles/{number}", "sha256": f"{number:064}", "run": f"run-{number}", "data_version": "data-1",
        "window": {"rows": 4000}, "metrics": {"rmse": 58.0}, "commit": "abc", "verdict": PASSED, "time": float(number),
    }  # fmt: skip
    return registry.register(connection, model=model, **values | changes)


def told(connection: Connection) -> list[tuple[str, float, dict[str, Any]]]:
    rows = connection.execute(sa.select(tables.outbox).order_by(tables.outbox.c.id)).mappings()
    return [(row["kind"], row["time"], row["payload"]) for row in rows]


def test_versions_count_from_one_and_start_staged(connection: Connection) -> None:
    assert [register(connection, n) for n in (1, 2, 3)] == ["v1", "v2", "v3"]
    row = registry.get(connection, "bike", "v2")
    assert (row["stage"], row["number"], row["bundle"], row["created"]) == ("staged", 2, "bundles/2", 2.0)
    assert row["verdict"]["parts"][0]["reason"] == "58 below 90"
    latest = registry.latest(connection, "bike")
    assert latest is not None
    assert latest["id"] == "v3"
    assert [r["id"] for r in registry.list_versions(connection, "bike")] == ["v1", "v2", "v3"]


def test_two_models_in_one_store_share_no_version(connection: Connection) -> None:
    assert register(connection, 1) == "v1"
    assert register(connection, 2, model="adult") == "v2"
    assert [r["id"] for r in registry.list_versions(connection, "adult")] == ["v2"]
    with pytest.raises(NotFoundError, match="no version of model 'adult' 'v1': the newest is v2"):
        registry.get(connection, "adult", "v1")
    assert registry.latest(connection, "none") is None


def test_registering_again_after_a_crash_gives_the_same_version(connection: Connection) -> None:
    assert register(connection, 1) == register(connection, 1, time=9.0) == "v1"
    assert len(told(connection)) == 1


def test_a_bundle_s_place_holds_one_content(connection: Connection) -> None:
    register(connection, 1)
    with pytest.raises(UsageError, match="the bundle at bundles/1 is that of v1, with another content"):
        register(connection, 2, bundle="bundles/1")


def test_stages_can_be_set_and_filtered(connection: Connection) -> None:
    for number in (1, 2):
        register(connection, number)
    registry.set_stage(connection, "bike", "v1", "production", 5.0)
    registry.set_stage(connection, "bike", "v1", "production", 6.0)
    assert [r["id"] for r in registry.list_versions(connection, "bike", "production")] == ["v1"]
    change = {"change": "stage", "id": "v1", "model": "bike", "stage": "production", "before": "staged"}
    assert told(connection)[2:] == [("model_version", 5.0, change)]
    with pytest.raises(UsageError, match=r"no stage 'producton' \(did you mean 'production'\?\): one of staged"):
        registry.set_stage(connection, "bike", "v1", "producton")  # type: ignore[arg-type]


def test_a_stage_set_without_a_time_takes_the_newest_that_is_known(connection: Connection) -> None:
    register(connection, 1)
    registry.set_stage(connection, "bike", "v1", "candidate")
    registry.set_alias(connection, "bike", "champion", "v1", PASSED, 7.0)
    registry.set_stage(connection, "bike", "v1", "production")
    assert [(kind, time) for kind, time, _ in told(connection)] == [
        ("model_version", 1.0), ("model_version", 1.0), ("alias", 7.0), ("model_version", 7.0),
    ]  # fmt: skip


def test_an_alias_moves_with_a_passed_verdict(connection: Connection) -> None:
    for number in (1, 2):
        register(connection, number)
    assert registry.alias(connection, "bike", "champion") is None
    registry.set_alias(connection, "bike", "champion", "v1", PASSED, 3.0)
    registry.set_alias(connection, "bike", "champion", "v2", PASSED, 4.0)
    assert registry.alias(connection, "bike", "champion") == "v2"
    kind, time, payload = told(connection)[-1]
    assert (kind, time, payload["before"], payload["version"]) == ("alias", 4.0, "v1", "v2")
    assert payload["verdict"]["reason"] == "rmse 58 against 119"


@pytest.mark.parametrize("outcome", ["fail", "inconclusive"])
def test_nothing_but_a_passed_verdict_holds_an_alias(outcome: Any, connection: Connection) -> None:
    register(connection, 1)
    message = f"v1 of model 'bike' cannot be its champion: the verdict of 'gate' is {outcome} \\(rmse 130\\)"
    with pytest.raises(CheckError, match=message):
        registry.set_alias(connection, "bike", "champion", "v1", Verdict("gate", outcome, "rmse 130"), 3.0)
    assert registry.alias(connection, "bike", "champion") is None


def test_an_unknown_version_gets_the_close_match(connection: Connection) -> None:
    with pytest.raises(NotFoundError, match="'v1': `everloop run` trains the first"):
        registry.get(connection, "bike", "v1")
    register(connection, 1)
    for call in (
        lambda: registry.get(connection, "bike", "v11"),
        lambda: registry.set_stage(connection, "bike", "v11", "archived"),
        lambda: registry.set_alias(connection, "bike", "champion", "v11", PASSED, 1.0),
    ):
        with pytest.raises(NotFoundError, match=r"no version of model 'bike' 'v11' \(did you mean 'v1'\?\)"):
            call()
    with pytest.raises(NotFoundError, match="'spring': the newest is v1"):
        registry.get(connection, "bike", "spring")


def test_a_transaction_that_fails_registers_and_tells_nothing(store: Store) -> None:
    def fail() -> None:
        with store.begin() as connection:
            register(connection, 1)
            registry.set_alias(connection, "bike", "champion", "v1", Verdict("gate", "fail", "worse"), 1.0)

    with pytest.raises(CheckError):
        fail()
    with store.read() as connection:
        assert registry.list_versions(connection, "bike") == []
        assert told(connection) == []


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["register", "stage", "alias"]), st.integers(1, 6), st.integers(0, 4)), max_size=15
)


@settings(max_examples=25)
@given(ACTIONS)
def test_whatever_happens_an_alias_names_a_version_that_passed(actions: list[tuple[str, int, int]]) -> None:
    """A model of the registry: what a version is never changes, each change is told once."""
    store, known, champion, changes = Store("sqlite://"), dict[str, dict[str, Any]](), None, 0
    stages = ["staged", "candidate", "production", "archived", "rejected"]
    outcomes: list[Any] = ["pass", "fail", "inconclusive", "pass", "fail"]
    with store.begin() as connection:
        for action, number, choice in actions:
            version = f"v{number}"
            if action == "register":
                fresh = not any(row["run"] == f"run-{number}" for row in known.values())
                made = register(connection, number)
                known.setdefault(made, registry.get(connection, "bike", made))
                changes += fresh
            elif version not in known:
                with pytest.raises(NotFoundError):
                    registry.get(connection, "bike", version)
            elif action == "stage":
                changes += known[version]["stage"] != stages[choice]
                known[version]["stage"] = stages[choice]
                registry.set_stage(connection, "bike", version, stages[choice], 1.0)  # type: ignore[arg-type]
            elif outcomes[choice] == "pass":
                registry.set_alias(connection, "bike", "champion", version, PASSED, 1.0)
                champion, changes = version, changes + 1
            else:
                with pytest.raises(CheckError):
                    registry.set_alias(
                        connection, "bike", "champion", version, Verdict("gate", outcomes[choice], ""), 1.0
                    )
        assert {row["id"]: row for row in registry.list_versions(connection, "bike")} == known
        assert registry.alias(connection, "bike", "champion") == champion
        assert len(told(connection)) == changes
    store.close()
