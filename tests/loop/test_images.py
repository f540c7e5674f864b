"""The image, built by a real Docker engine: its pods under kfp's own runner, its server answering."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests import docker_engine
from tests.buckets import free_port
from tests.loop.test_runners import HOURS, bike_project

from everloop import store as tables
from everloop.errors import UsageError
from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.images import build_image
from everloop.loop.own_pipelines import compile_own, run_own
from everloop.loop.workspace import opened
from everloop.pipelines.compilers.kubeflow import RUN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Debian 12, of which the base is made, has Python 3.11"),
    pytest.mark.skipif(not HOURS.is_file(), reason="the bike-sharing hours are not there"),
]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with docker_engine.engine() as base:
        yield base


@pytest.fixture(scope="module")
def project(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bike project, whose pods share a volume with it."""
    folder = tmp_path_factory.mktemp("image")
    state = folder / "volume"
    state.mkdir()
    settings = (
        f'[pipelines]\nimage = "bikes:test"\nvolume = "models:{state}"\nfuse = false\n'
        f'[storage]\nstore = "sqlite:///{state}/store.db"\nartifacts = "{state}/artifacts"\n'
    )
    made = bike_project(folder / "bikes", settings)
    (made / "loops.py").write_text((Path(__file__).parents[1] / "pipelines" / "entry_project.py").read_text())
    with opened(made) as workspace:
        told = build_image(workspace, "bikes:test", base=base)
    assert told["bytes"] < 2_000_000_000
    return made


def in_image(*arguments: str, image: str = "bikes:test") -> str:
    command = ["docker", "run", "--rm", "--network", "none", image, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_image_runs_as_nobody_and_holds_no_data(project: Path) -> None:
    assert in_image("id", "-u") == "10001"
    listed = in_image("find", "/project", "-type", "f").splitlines()
    assert "/project/everloop.toml" in listed
    assert "/project/bike_sharing/model.py" in listed
    assert not [name for name in listed if "/data/" in name or "/.git/" in name or "/.everloop/" in name]
    assert not any("PASSWORD" in line or "INDEX_URL" in line for line in in_image("env").splitlines())
    assert project.is_dir()


def test_its_pods_give_the_same_model_under_kfps_own_runner(project: Path, tmp_path: Path) -> None:
    """kfp says SUCCESS whatever happens: what the store holds is compared with the local run."""
    from docker.types import Mount
    from kfp import components, local

    with opened(project) as workspace:
        compile_own(workspace, None, {}, tmp_path / "pipeline.yaml")
        volume = workspace.settings.pipelines.volume.partition(":")[2]
    for path in [Path(volume), *Path(volume).rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    local.init(
        local.DockerRunner(network_mode="none", mounts=[Mount(volume, volume, type="bind")]),
        pipeline_root=str(tmp_path / "kfp"),
    )
    compiled: Any = components.load_component_from_file(str(tmp_path / "pipeline.yaml"))
    compiled(**{RUN: "in-pods"})
    with opened(project) as workspace:
        (row,) = workspace.store.rows(sa.select(tables.run).where(tables.run.c.id == "in-pods"))
        assert (row["pipeline"], row["status"]) == ("retrain", "finished")
        ran = workspace.store.rows(sa.select(tables.execution).where(tables.execution.c.run == "in-pods"))
        assert [(r["step"], r["status"], r["cached_from"]) for r in ran] == [
            (name, "finished", None) for name in ("choose_window", "train", "judge", "guard", "assemble")
        ] or {r["step"] for r in ran} == {"choose_window", "train", "judge", "guard", "assemble"}
        model = output(workspace, "in-pods", "train")
    ask(project, RETRAIN, {"reason": "here"})
    with opened(project) as workspace:
        here = workspace.store.rows(
            sa.select(tables.run.c.id).where(tables.run.c.pipeline == "retrain", tables.run.c.id != "in-pods")
        )
        assert output(workspace, here[0]["id"], "train") == model


def test_branches_run_in_containers_too(project: Path, tmp_path: Path) -> None:
    from docker.types import Mount
    from kfp import components, local

    (tmp_path / "hello.txt").write_text("hello")
    with opened(project) as workspace:
        volume = workspace.settings.pipelines.volume.partition(":")[2]
        given = {"total": 6, "greeting": str(tmp_path / "hello.txt")}
        compile_own(workspace, "loops:branches", given, tmp_path / "pipeline.yaml")
    for path in [Path(volume), *Path(volume).rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    local.init(
        local.DockerRunner(network_mode="none", user="0", mounts=[Mount(volume, volume, type="bind")]),
        pipeline_root=str(tmp_path / "kfp"),
    )
    # as root: kfp.local makes the folders of outputs with its own user's rights
    compiled: Any = components.load_component_from_file(str(tmp_path / "pipeline.yaml"))
    compiled(**{RUN: "branches-in-pods"})
    with opened(project) as workspace:
        ran = workspace.store.rows(sa.select(tables.execution).where(tables.execution.c.run == "branches-in-pods"))
        assert {row["step"] for row in ran} >= {"is_even", "halve", "tell"}
        here = run_own(workspace, "loops:branches", given, None, lambda _: None)
        assert here.value == "hello 6 3"
        assert output(workspace, "branches-in-pods", "tell") == here.artifacts["return"].id


def output(workspace: Any, run: str, step: str) -> str:
    """The artifact that a step of a run gave: the model's files, by their content."""
    link, execution = tables.link.c, tables.execution.c
    (row,) = workspace.store.rows(
        sa.select(link.artifact)
        .join(tables.execution, execution.id == link.execution)
        .where(execution.run == run, execution.step == step, link.direction == "output")
    )
    return str(row["artifact"])


def test_the_serving_image_answers(project: Path, base: str) -> None:
    ask(project, RETRAIN, {"reason": "to serve"})
    with opened(project) as workspace:
        told = build_image(workspace, "bikes-serving:test", base=base, kind="serving")
    assert told["bytes"] < 700_000_000
    state, port = project / ".everloop", free_port()
    for path in [state, *state.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o644)
    command = ["docker", "run", "--rm", "-d", "--network", "host", "-v", f"{state}:/project/.everloop"]
    options = ["--port", str(port), "--plan", ".everloop/plan.json", "--journal", ".everloop/journal"]
    server = ["python3", "-m", "everloop.serving", *options, "--keys", ".everloop/keys"]
    name = subprocess.run([*command, "bikes-serving:test", *server], check=True, capture_output=True, text=True)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2) as answer:
                    assert answer.status == 200
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/bikes", timeout=2) as answer:
                    assert json.load(answer)["name"] == "bikes"
                break
            except OSError:
                logs = subprocess.run(
                    ["docker", "logs", name.stdout.strip()], capture_output=True, text=True, check=False
                )
                assert time.monotonic() < deadline, logs.stderr
                time.sleep(0.2)
    finally:
        subprocess.run(["docker", "kill", name.stdout.strip()], capture_output=True, check=False)


def test_a_base_with_another_python_is_refused(project: Path, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from everloop.loop import images

    monkeypatch.setattr(images, "_install", lambda *_: None)
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    monkeypatch.setattr(images, "write_context", _with_no_packages(images.write_context))
    with (
        opened(project) as workspace,
        pytest.raises(UsageError, match=r"the packages are for Python 3\.12, the base has 3\.11"),
    ):
        build_image(workspace, "other:test", base=base)


def _with_no_packages(real: Any) -> Any:
    def write(workspace: Any, code: Any, folder: Path, base: str, kind: Any) -> None:
        (folder / "packages").mkdir()
        real(workspace, code, folder, base, kind)

    return write
