"""Environments of steps: built once, files in, files out, uv's reason where there is none."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.pipelines import apart_steps as steps

from everloop.errors import StepError, UsageError
from everloop.pipelines import Engine, Environment, Resources, environments, pipeline
from everloop.pipelines.environments import build, everloop_name, place_of, uv_environment


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(autouse=True)
def shared(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVERLOOP_ENVIRONMENTS", str(place))
    monkeypatch.chdir(tmp_path)


@pipeline
def look(numbers: list[int]) -> dict[str, object]:
    return steps.where(numbers)


@pipeline
def read(name: str, raw: bytes) -> steps.Pair:
    return steps.versions(steps.makes_a_folder(name), raw)


@pipeline
def fail(number: int) -> int:
    return steps.fails(number)


@pipeline
def give_none(number: int) -> object:
    return steps.gives_no_value(number)


@pipeline
def unsolvable(number: int) -> int:
    return steps.never(number)


def test_a_step_runs_in_its_own_python_without_the_projects_packages(engine: Engine) -> None:
    assert steps.where([1, 2])["prefix"] == sys.prefix  # called, it is a function
    found = engine.run(look, {"numbers": [1, 2, 3]}).value
    assert found == {"prefix": str(place_of(steps.BARE)), "numpy": False, "sum": 6}
    assert engine.run(look, {"numbers": [1, 2, 3]}).executions[0].status == "cached"


def test_the_python_that_runs_is_taken_where_no_path_leads_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVERLOOP_ENVIRONMENTS", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    python = build(Environment(()))
    told = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    assert told.stdout.split() == [str(number) for number in sys.version_info[:2]]


def test_an_everloop_of_other_sources_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "package" / "module.py"
    file.parent.mkdir()
    file.write_text("x = 1\n")
    monkeypatch.setattr(environments, "files", lambda _: file.parent)
    first = everloop_name()
    (file.parent / "module.pyc").write_bytes(b"compiled")
    assert everloop_name() == first
    file.write_text("x = 2\n")
    assert everloop_name() != first
    monkeypatch.setattr(environments, "everloop_source", lambda: f"everloop=={version('everloop')}")
    assert everloop_name() == version("everloop")


def test_folders_bytes_and_several_outputs_travel_as_files(engine: Engine) -> None:
    run = engine.run(read, {"name": "made", "raw": b"abc"})
    assert run.outputs == {"text": "1.17.0 ['a.txt']", "data": b"cba"}


def test_its_errors_name_what_went_wrong_there(engine: Engine) -> None:
    with pytest.raises(StepError, match="step 'fails' failed: ValueError: 3 is wrong") as caught:
        engine.run(fail, {"number": 3})
    assert any("in fails" in note for note in caught.value.__cause__.__notes__)  # type: ignore[union-attr]
    with pytest.raises(StepError, match="its result is a object that no file holds"):
        engine.run(give_none, {"number": 1})
    assert engine.run(give_none, {"number": 0}).value is None


def test_what_cannot_be_solved_gives_uvs_reason(engine: Engine) -> None:
    with pytest.raises(StepError, match=r"(?s)environment cannot be built \(uv pip install\): .*six==1.1[67].0.*unsat"):
        engine.run(unsolvable, {"number": 1})


def test_many_at_once_build_one(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    uv = environments.uv
    monkeypatch.setattr(environments, "uv", lambda *a: built.append(a[0]) or uv(*a))  # type: ignore[func-returns-value]
    with ThreadPoolExecutor(4) as pool:
        pythons = set(pool.map(build, [Environment(python="3.11")] * 4))
    assert len(pythons) == 1
    assert built.count("venv") == 1


def test_one_that_was_cut_off_is_built_anew(place: Path) -> None:
    python = build(steps.BARE)
    (python.parents[1] / environments.LOCK).unlink()
    (python.parents[1] / "left behind").touch()
    assert build(steps.BARE) == python
    assert not (python.parents[1] / "left behind").exists()
    assert python.parents[2] == place


def test_equal_declarations_share_one_environment() -> None:
    assert Environment(("b", "a")).hash == Environment(("a", "b")).hash != Environment(("a",)).hash
    with pytest.raises(UsageError, match="write a version such as '3"):
        Environment(python="three")
    with pytest.raises(UsageError, match=r"write a list, \['six'\]"):
        Environment(packages="six")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="resources, memory: 'much' is no size"):
        Resources(memory="much")
    with pytest.raises(UsageError, match="give counts"):
        Resources(cpu=0)


def test_what_pip_is_told_holds_for_uv() -> None:
    told = {"PIP_INDEX_URL": "https://index.example", "PIP_FIND_LINKS": "/a /b", "VIRTUAL_ENV": "x", "UV_INDEX": "kept"}
    found = uv_environment(told | {"PIP_EXTRA_INDEX_URL": "other"})
    assert (found["UV_DEFAULT_INDEX"], found["UV_FIND_LINKS"]) == ("https://index.example", "/a,/b")
    assert (found["UV_INDEX"], found["UV_HTTP_TIMEOUT"]) == ("kept", "60")
    assert "VIRTUAL_ENV" not in found
