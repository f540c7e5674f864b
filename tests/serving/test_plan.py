from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from tests.serving.sites import rides_plan

from everloop.errors import NotFoundError, SystemError_, UsageError
from everloop.serving.plan import PlanFile, read_plan, write_plan
from everloop.types import Plan, Variant


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan = rides_plan(7, 0.25, since=12.5, sticky_by="header:x-user")
    write_plan(tmp_path / "state" / "plan.json", plan)
    assert read_plan(tmp_path / "state" / "plan.json") == plan
    assert os.listdir(tmp_path / "state") == ["plan.json"]


def test_a_change_is_seen_once(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    file = PlanFile(path)
    assert not file.changed()
    for generation in range(1, 30):
        write_plan(path, rides_plan(generation))
        assert file.changed()
        assert not file.changed()
    path.unlink()
    assert not file.changed()


def test_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no plan file"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize("text", ["", "{", '{"generation":"x"}', "[" * 5000, '{"generation":1,"model":"m"}', "\udcff"])
def test_a_broken_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match="cannot be understood"):
        read_plan(path)


@pytest.mark.parametrize(
    ("variants", "reason"),
    [
        ((), "0 champions"),
        ((("v1", "champion", 1.0), ("v2", "champion", 0.0)), "2 champions"),
        ((("v1", "champion", 1.0), ("v2", "candidate", 0.1), ("v3", "candidate", 0.1)), "2 candidates"),
        ((("v1", "champion", 0.9), ("v1", "candidate", 0.1)), "one version twice"),
        ((("v1", "champion", 1.1), ("v2", "candidate", -0.1)), "none may be negative"),
        ((("v1", "champion", 0.0),), "one must be positive"),
        ((("v1", "champion", float("inf")),), "none may be negative"),
    ],
)
def test_a_plan_nobody_can_follow_is_neither_written_nor_read(tmp_path: Path, variants: object, reason: str) -> None:
    made = tuple(Variant(v, "b", role, weight) for v, role, weight in variants)  # type: ignore[attr-defined]
    plan = Plan(1, "rides", made)
    with pytest.raises(UsageError, match=reason):
        write_plan(tmp_path / "plan.json", plan)
    assert not list(tmp_path.iterdir())
    if "inf" not in repr(variants):
        (tmp_path / "plan.json").write_bytes(msgspec.json.encode(plan))
        with pytest.raises(UsageError, match=reason):
            read_plan(tmp_path / "plan.json")


def test_sticky_by_must_be_a_header_or_a_column(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="header:NAME"):
        write_plan(tmp_path / "plan.json", rides_plan(1, sticky_by="cookie:x"))


def test_a_folder_that_takes_no_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "plan.json").mkdir()
    with pytest.raises(SystemError_, match="cannot be written"):
        write_plan(tmp_path / "plan.json", rides_plan(1))
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    with pytest.raises(SystemError_, match="cannot be read"):
        read_plan(tmp_path / "plan.json")
