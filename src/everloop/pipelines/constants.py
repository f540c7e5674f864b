"""What a pipeline is called with: small values travel as JSON in the rows, everything else as stored artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from everloop.errors import UsageError
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.formats import UnserialisableError, encode
from everloop.pipelines.graph import Node, Output
from everloop.pipelines.step import Pipeline
from everloop.types import Json

__all__ = ["Constants"]

_SMALL = 16_384


class Constants:
    """Stores the constants of one graph; a large value that several steps take is encoded once."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._stored: dict[int, tuple[Any, Artifact]] = {}  # with the value, so that its id stays its own

    def of_node(self, node: Node) -> tuple[dict[str, bytes], dict[str, Artifact]]:
        """Split a node's constants into JSON parameters and artifacts; raises UsageError naming step and parameter."""
        parameters, stored = {}, {}
        for name, value in node.inputs.items():
            if not isinstance(value, Output) and name not in node.each:
                constant = self.put(value, node.step.hints.get(name), f"step {node.name!r}, parameter {name!r}")
                if isinstance(constant, Artifact):
                    stored[name] = constant
                else:
                    parameters[name] = constant
        return parameters, stored

    def of_run(self, pipeline: Pipeline[..., Any], arguments: Mapping[str, Any]) -> dict[str, Json]:
        """Return a pipeline's arguments as its run's row keeps them: an artifact by its id."""
        kept: dict[str, Json] = {}
        for name, value in arguments.items():
            where = f"pipeline {pipeline.name!r}, argument {name!r}"
            constant = self.put(value, pipeline.hints.get(name), where)
            kept[name] = {"artifact": constant.id} if isinstance(constant, Artifact) else msgspec.json.decode(constant)
        return kept

    def put(self, value: Any, annotation: Any, where: str) -> bytes | Artifact:
        """Return a value as JSON, or as the artifact that it was stored as."""
        if isinstance(value, Artifact):  # of an earlier run
            return value
        if id(value) in self._stored:
            return self._stored[id(value)][1]
        try:
            if not isinstance(value, Path):
                format, data = encode(value, annotation)
                if format == "json":
                    return data if len(data) <= _SMALL else self._artifacts.put(value, annotation)
            artifact = self._artifacts.put(value, annotation)
        except UnserialisableError as error:
            raise UsageError(f"{where}: {error}") from error
        self._stored[id(value)] = (value, artifact)
        return artifact
