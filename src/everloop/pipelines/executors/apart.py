"""A step with an environment of its own: its arguments become files, another Python calls it, files come back."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from everloop.errors import SystemError_
from everloop.pipelines import inside
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.environments import build
from everloop.pipelines.executors import RemoteError, StepTask, base_of
from everloop.pipelines.formats import UnserialisableError, decode

__all__ = ["call_apart"]


def call_apart(task: StepTask, artifacts: ArtifactStore) -> list[tuple[str, Any]]:
    """Return a step's outputs by name, called in the environment that it declares."""
    assert task.step.env is not None
    python = build(task.step.env)
    with tempfile.TemporaryDirectory(prefix="everloop-step-") as name:
        folder = Path(name)
        order = {
            "module": task.step.function.__module__,
            "function": task.step.function.__qualname__,
            "paths": [str(base_of(task.step)), str(task.root.resolve())],
            "folder": str(Path.cwd()),
            "arguments": _files(task, artifacts, folder / "in"),
            "outputs": list(task.step.outputs),
            "out": str(folder / "out"),
        }
        (folder / "out").mkdir()
        (folder / "order.json").write_bytes(msgspec.json.encode(order))
        command = [str(python), inside.__file__, str(folder / "order.json")]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False)
        _raise_failure(folder / "out" / "failure.json")
        if ended.returncode or not (folder / "out" / "outputs.json").is_file():
            raise SystemError_(f"its Python ended with exit code {ended.returncode} before it gave a result")
        told = msgspec.json.decode((folder / "out" / "outputs.json").read_bytes(), type=dict[str, tuple[str, str]])
        return [(name, _value(task, artifacts, name, told[name][0], Path(told[name][1]))) for name in task.step.outputs]


def _files(task: StepTask, artifacts: ArtifactStore, folder: Path) -> dict[str, tuple[str, str]]:
    """Write each argument to a file; returns its format and path."""
    folder.mkdir()
    files = {name: ("json", data) for name, data in task.parameters.items()}
    found: dict[str, tuple[str, str]] = {}
    for name, artifact in task.inputs.items():
        if artifact.format in ("file", "folder"):
            found[name] = ("path", str(artifacts.get(artifact)))
        elif artifact.format == "list":
            files[name] = ("json", _as_json(task, artifact, artifacts, name))
        else:
            files[name] = (artifact.format, artifacts.read(artifact))
    for name, (format, data) in files.items():
        (folder / name).write_bytes(data)
        found[name] = (format, str(folder / name))
    return found


def _as_json(task: StepTask, artifact: Artifact, artifacts: ArtifactStore, name: str) -> bytes:
    try:
        return msgspec.json.encode(artifacts.get(artifact, task.step.hints.get(name)))
    except TypeError as error:
        raise UnserialisableError(f"its argument {name!r} is a list that JSON does not hold ({error})") from error


def _value(task: StepTask, artifacts: ArtifactStore, name: str, format: str, file: Path) -> Any:
    if format == "path":
        return artifacts.put(file)
    return decode(format, file.read_bytes(), task.step.outputs[name])


def _raise_failure(file: Path) -> None:
    if file.is_file():
        failure = msgspec.json.decode(file.read_bytes())
        error = RemoteError(f"{failure['kind']}: {failure['text']}" if failure["text"] else failure["kind"])
        error.add_note(failure["trace"])
        raise error
