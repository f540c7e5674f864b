"""The project's image: packages by uv and the project's files in one context, built by the Docker engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from everloop import git
from everloop.errors import SystemError_, UsageError
from everloop.exporters import docker
from everloop.loop.pipeline_versions import Code, code_of
from everloop.loop.workspace import Workspace
from everloop.pipelines.environments import everloop_source, uv

__all__ = ["build_image", "write_context"]

_LEFT_OUT = (".git", ".everloop", ".dvc/cache", ".dvc/tmp", "__pycache__", ".venv", "data")
_LAST_LINES = 15
_DRIVERS = {"postgresql": "postgresql", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}


def build_image(
    workspace: Workspace,
    tag: str | None = None,
    *,
    base: str = docker.BASE,
    kind: docker.Kind = "pipeline",
    version: str | None = None,
) -> dict[str, Any]:
    """Build the image of the deployed pipeline version (or another, or the tree as it is); returns its tag and size.

    Raises UsageError where the base has another Python, SystemError_ where the Docker engine does not answer.
    """
    code = code_of(workspace, version)
    name = re.sub(r"[^a-z0-9._-]+", "-", workspace.name.lower()).strip("-._")
    tagged = (
        tag or f"{name}:{(code.commit or 'latest')[:12]}{'-dirty' if (code.commit or '').endswith('-dirty') else ''}"
    )
    with tempfile.TemporaryDirectory(prefix="everloop-image-") as folder:
        write_context(workspace, code, Path(folder), base, kind)
        _docker("build", "--network", "none", "--build-arg", f"BASE={base}", "--tag", tagged, folder)
    size = int(_docker("image", "inspect", "--format", "{{.Size}}", tagged))
    return {"image": tagged, "bytes": size, "commit": code.commit, "base": base, "kind": kind}


def write_context(workspace: Workspace, code: Code, folder: Path, base: str, kind: docker.Kind) -> None:
    """Write what the image is built from: Dockerfile, packages for this Python, the project's files without data."""
    for file, text in docker.render(kind, sys.version_info[:2], base).items():
        (folder / file).write_text(text, encoding="utf-8")
    _install(workspace, code, folder, kind)
    project = folder / docker.PROJECT
    for name in _files(code.folder):
        target = project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(code.folder / name, target)


def _install(workspace: Workspace, code: Code, folder: Path, kind: docker.Kind) -> None:
    """Install the packages of the version, or those that run now, into the context."""
    target = ["--target", str(folder / docker.PACKAGES), "--python", sys.executable]
    named = code.settings.pipelines.requirements
    if named and kind == "pipeline":
        uv("pip", "install", *target, "-r", str(code.folder / named))
        uv("pip", "install", *target, "--no-deps", everloop_source())
        return
    pins = folder / "constraints.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in _installed().items()), encoding="utf-8")
    extras = _extras(workspace, kind)
    source = everloop_source()
    wanted = f"everloop[{','.join(extras)}] @ {Path(source).as_uri()}" if Path(source).is_absolute() else source
    uv("pip", "install", *target, "--constraint", str(pins), wanted)
    pins.unlink()


def _extras(workspace: Workspace, kind: docker.Kind) -> list[str]:
    settings = workspace.settings
    if kind == "serving":
        return ["grpc"] if settings.serving.grpc_port else []
    places = [settings.storage.store, settings.storage.artifacts]
    drivers = {_DRIVERS.get(re.split(r"[+:]", place)[0], "") for place in places} - {""}
    return ["steps", *sorted(drivers)]


def _installed() -> dict[str, str]:
    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: version for name, version in sorted(found.items()) if name.lower() != "everloop"}


def _files(folder: Path) -> list[str]:
    """Return the project's files: what git follows or would, without data; all but state where there is no git."""
    if git.is_repository(folder):
        listed = git.run(folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
        found = [name for name in listed if name and (folder / name).is_file()]
    else:
        found = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    return [name for name in found if not _left_out(name)]


def _left_out(name: str) -> bool:
    parts = Path(name).parts
    return any(name == out or name.startswith(f"{out}/") or out in parts for out in _LEFT_OUT)


def _docker(*arguments: str) -> str:
    variables = os.environ | {"DOCKER_BUILDKIT": "0"}  # what every engine has
    try:
        ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, env=variables)
    except OSError as error:
        raise UsageError("there is no docker command: install the Docker engine, which builds images") from error
    if ended.returncode:
        told = (ended.stdout + ended.stderr).strip().splitlines()
        if wrong := re.search(docker.OTHER_PYTHON, "\n".join(told)):
            raise UsageError(f"{wrong[0]}: take another base, or build with that Python")
        raise SystemError_("\n".join([f"docker {arguments[0]} failed:", *told[-_LAST_LINES:]]))
    return ended.stdout.strip()
