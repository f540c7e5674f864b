"""A mapped node becomes one call for each element, once it is known what the elements are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from everloop.errors import UsageError
from everloop.pipelines.artifacts import Artifact, ArtifactStore
from everloop.pipelines.constants import Constants
from everloop.pipelines.graph import Node

__all__ = ["Call", "FanOut"]


class Call(NamedTuple):
    """A node with its constants, small ones as JSON, others as artifacts; `of` names the mapped node that it is of."""

    node: Node
    parameters: dict[str, bytes]
    stored: dict[str, Artifact]
    of: str = ""

    @property
    def family(self) -> str:
        """The name of the node of the pipeline."""
        return self.of or self.node.name


class FanOut:
    """Makes the calls of mapped nodes."""

    def __init__(self, artifacts: ArtifactStore, constants: Constants) -> None:
        self._artifacts, self._constants = artifacts, constants

    def spread(self, call: Call, made: Mapping[str, Artifact]) -> list[Call]:
        """Return one call an element, named `step[0]`, `step[1]`, ...; `made` are the results of other nodes.

        Raises UsageError for what is no list, and for lists that are not equally long.
        """
        node = call.node
        columns = {name: self._elements(node, name, made.get(name)) for name in node.each}
        if len(lengths := {name: len(values) for name, values in columns.items()}) and len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise UsageError(f"its lists are not equally long: {told}")
        others = {name: value for name, value in node.inputs.items() if name not in node.each}
        return [
            self._one(call, Node(f"{node.name}[{place}]", node.step, others), dict(zip(columns, row, strict=True)))
            for place, row in enumerate(zip(*columns.values(), strict=True))
        ]

    def _one(self, call: Call, node: Node, elements: Mapping[str, Any]) -> Call:
        parameters, stored = dict(call.parameters), dict(call.stored)
        for name, element in elements.items():
            annotation = node.step.hints.get(name)
            value = self._constants.put(element, annotation, f"step {node.name!r}, parameter {name!r}")
            if isinstance(value, Artifact):
                stored[name] = value
            else:
                parameters[name] = value
        return Call(node, parameters, stored, call.node.name)

    def _elements(self, node: Node, name: str, made: Artifact | None) -> list[Any]:
        """Return the elements of an argument: values, or the artifacts that an earlier fan-out made."""
        if made is not None and made.format == "list":
            return list(self._artifacts.items(made))
        value = node.inputs[name] if made is None else self._artifacts.get(made)
        if isinstance(value, list | tuple | range):
            return list(value if made is None else self._artifacts.get(made, node.hint(name)))
        raise UsageError(f"its parameter {name!r} is to go over a list, and is a {type(value).__name__}")
