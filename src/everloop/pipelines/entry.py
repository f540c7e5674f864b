"""The one entry point of a node wherever it runs: `python -m everloop.pipelines.entry --pipeline module:name ...`.

It opens the store and the artifacts that the project's `everloop.toml` names, brings the named nodes of a run to their
outputs, with the cache, and stores their lineage. Engines with a loop of their own (Kubeflow, TFX, MLRun) call it in
their order; they carry no data.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from everloop.errors import EverloopError, UsageError
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.constants import Constants
from everloop.pipelines.engine import Engine, Execution
from everloop.pipelines.executors.local import LocalExecutor
from everloop.pipelines.step import Pipeline
from everloop.settings import load
from everloop.store import Store

__all__ = ["arguments_as_text", "main", "pipeline_named"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run nodes as the command line says; returns the exit code of the CLI's errors."""
    told = _parser().parse_args(argv)
    told.run = told.run or told.job
    try:
        _run(told)
    except EverloopError as error:
        print(f"everloop: {error}", file=sys.stderr)
        for note in getattr(error.__cause__, "__notes__", ()):
            print(note, file=sys.stderr)
        return error.exit_code
    return 0


def arguments_as_text(
    pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], artifacts: ArtifactStore
) -> dict[str, str]:
    """Return arguments as `--argument NAME=JSON` takes them; what is no small JSON is stored, and named."""
    constants, texts = Constants(artifacts), dict[str, str]()
    for name, value in pipeline.bind(dict(arguments)).items():
        where = f"pipeline {pipeline.name!r}, argument {name!r}"
        constant = constants.put(value, pipeline.hints.get(name), where)
        text = msgspec.json.encode({"artifact": constant}) if isinstance(constant, Artifact) else constant
        texts[name] = text.decode()
    return texts


def pipeline_named(reference: str) -> Pipeline[..., Any]:
    """Return the pipeline of "module:name"; raises UsageError where there is none."""
    module, _, name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"the pipeline {reference!r} cannot be imported: {error}") from error
    if not isinstance(found, Pipeline):
        raise UsageError(f"{reference!r} is a {type(found).__name__}, and no pipeline")
    return found


def _run(told: argparse.Namespace) -> None:
    folder = Path(told.project).resolve()
    os.chdir(folder)
    sys.path[:0] = [str(folder), *([str(folder / "src")] if (folder / "src").is_dir() else [])]
    storage = load(folder).storage
    artifacts = ArtifactStore(storage.artifacts, folder)
    with contextlib.closing(Store(storage.store, folder)) as store:
        engine = Engine(store, artifacts, LocalExecutor(artifacts), folder, time.time)
        pipeline = pipeline_named(told.pipeline)
        arguments = _arguments(pipeline, told.argument)
        if told.elements:
            count = engine.elements_of(pipeline, arguments, told.node[0], run_id=told.run)
            _write(told.elements, msgspec.json.encode(list(range(count))))
        elif told.decide:
            wanted = engine.is_wanted(pipeline, arguments, told.node[0], run_id=told.run)
            _write(told.decide, b"true" if wanted else b"false")
        else:
            done = engine.run_nodes(
                pipeline, arguments, told.node, run_id=told.run, element=told.element, finish=told.finish,
                on_progress=lambda p: print(f"{p.step}: {p.status}", flush=True),
            )  # fmt: skip
            if told.out:
                _write(told.out, msgspec.json.encode(_by_name(done)))


def _by_name(done: Sequence[Execution]) -> dict[str, dict[str, Artifact]]:
    return {execution.step: execution.outputs for execution in done}


def _arguments(pipeline: Pipeline[..., Any], texts: Sequence[str]) -> dict[str, Any]:
    """Return typed arguments: what is an artifact of the store stays one."""
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--argument {text!r}: write NAME=JSON")
        try:
            plain = msgspec.json.decode(value)
            if isinstance(plain, dict) and plain.keys() == {"artifact"}:
                arguments[name] = msgspec.convert(plain["artifact"], Artifact)
            else:
                arguments[name] = msgspec.convert(plain, pipeline.hints.get(name, Any))
        except msgspec.MsgspecError as error:
            raise UsageError(f"--argument {name}: {error}") from error
    return arguments


def _write(place: str, data: bytes) -> None:
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _index(text: str) -> int:
    """Read an element's place; engines whose numbers are all floats write 1.0."""
    return int(float(text))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m everloop.pipelines.entry", description="Run nodes of a pipeline.")
    parser.add_argument("--project", default=".", help="the project's folder")
    parser.add_argument("--pipeline", required=True, help='its "module:name"')
    parser.add_argument("--run", required=True, help="the run's id: the same for all nodes")
    parser.add_argument("--job", default="", help="the run's id where --run is empty")
    parser.add_argument("--node", action="append", required=True, help="may be said several times")
    parser.add_argument("--argument", action="append", default=[], help="NAME=JSON of the pipeline's arguments")
    parser.add_argument("--element", type=_index, help="only this element of the mapped node")
    parser.add_argument("--elements", help="only write the list of a mapped node's elements to this file")
    parser.add_argument("--decide", help="only write to this file whether the node's condition lets it run")
    parser.add_argument("--finish", action="store_true", help="the run is finished with these nodes")
    parser.add_argument("--out", help="write the artifacts of the nodes' outputs to this file, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
