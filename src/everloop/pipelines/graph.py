"""The graph of a pipeline: `trace` calls the function once and takes down which step feeds which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from everloop.errors import UsageError, close_match
from everloop.pipelines.step import RETURN, Pipeline, Step, fields_of, recording

__all__ = ["Graph", "Node", "Output", "list_of", "trace"]


@dataclass(frozen=True)
class Output:
    """The result of a node that has not run yet; it can be handed to steps, and nothing else."""

    node: str
    name: str = RETURN

    def _refuse(self, *_: Any) -> NoReturn:
        message = f"the result of step {self.node!r} is not known while the pipeline is traced: look at it in a step"
        raise UsageError(message)

    __bool__ = __iter__ = __len__ = __getitem__ = __float__ = __int__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # copy, typing and inspect ask for dunders and take no for an answer
        return self._refuse()


@dataclass(frozen=True)
class Node:
    """One call of a step: each of its parameters is a constant or the output of another node.

    With `each` it is one call for each element of these parameters, and its outputs are lists. It runs where its
    `condition` is true: a constant, or the output of a node.
    """

    name: str
    step: Step[..., Any]
    inputs: Mapping[str, Any]
    each: tuple[str, ...] = ()
    condition: Any = True

    @property
    def sources(self) -> dict[str, Output]:
        return {name: value for name, value in self.inputs.items() if isinstance(value, Output)}

    @property
    def needs(self) -> list[str]:
        """The names of the nodes that must be done before."""
        told = [*self.sources.values(), *([self.condition] if isinstance(self.condition, Output) else [])]
        return list(dict.fromkeys(source.node for source in told))

    @property
    def outputs(self) -> dict[str, Any]:
        """The annotation of each output by name."""
        found = self.step.outputs
        return {name: list_of(annotation) for name, annotation in found.items()} if self.each else found

    def hint(self, parameter: str) -> Any:
        """Return the annotation of what a parameter is given."""
        annotation = self.step.hints.get(parameter)
        return list_of(annotation) if parameter in self.each else annotation


@dataclass(frozen=True)
class Graph:
    """The nodes of a pipeline, and which constants or outputs it returns under which names."""

    name: str
    nodes: tuple[Node, ...]
    outputs: Mapping[str, Any] = field(default_factory=dict)

    def order(self) -> list[Node]:
        """Return the nodes, each after what it needs, else as they were called; raises UsageError on a wrong graph."""
        _validate(self)
        waiting, done, ordered = list(self.nodes), set[str](), list[Node]()
        while waiting:
            ready = next((n for n in waiting if done.issuperset(n.needs)), None)
            if ready is None:
                circle = " -> ".join(repr(name) for name in _circle(waiting))
                raise UsageError(f"pipeline {self.name!r}: its steps wait for each other: {circle}")
            waiting.remove(ready)
            done.add(ready.name)
            ordered.append(ready)
        return ordered


def list_of(annotation: Any) -> Any:
    """Return the annotation of a list of such values; None for a list of anything."""
    return None if annotation in (None, Any) else list[annotation]


def trace(pipeline: Pipeline[..., Any], arguments: Mapping[str, Any]) -> Graph:
    """Return the graph of one call of `pipeline`; no step runs."""
    tracer = _Tracer()
    with recording(tracer):
        returned = pipeline.function(**pipeline.bind(dict(arguments)))
    names = fields_of(type(returned))
    outputs = dict(zip(names, returned, strict=True)) if names else {RETURN: returned}
    return Graph(pipeline.name, tuple(tracer.nodes), outputs)


class _Tracer:
    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def record(self, step: Step[Any, Any], arguments: dict[str, Any], each: tuple[str, ...], condition: Any) -> Any:
        same = sum(node.step.name == step.name for node in self.nodes)
        name = f"{step.name}-{same + 1}" if same else step.name
        node = Node(name, step, arguments, each, True if condition is None else condition)
        if not isinstance(node.condition, bool | Output):
            raise UsageError(f"step {name!r}: its condition is a {type(condition).__name__}, and no bool")
        for name, value in arguments.items():
            _refuse_nested(value, f"step {node.name!r}, parameter {name!r}")
        self.nodes.append(node)
        returned = step.hints.get("return")
        if fields := fields_of(returned):
            return returned(**{name: Output(node.name, name) for name in fields})  # type: ignore[misc]
        return Output(node.name)


def _refuse_nested(value: Any, where: str) -> None:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
    if any(isinstance(item, Output) for item in inside):
        raise UsageError(f"{where}: results of steps stand inside of a {type(value).__name__}: give each its parameter")


def _validate(graph: Graph) -> None:
    nodes = {node.name: node for node in graph.nodes}
    if len(nodes) < len(graph.nodes):
        raise UsageError(f"pipeline {graph.name!r}: two of its nodes have the same name")
    for node in graph.nodes:
        where, parameters = f"step {node.name!r}", node.step.signature.parameters
        for name, parameter in parameters.items():
            if name not in node.inputs and parameter.default is parameter.empty:
                raise UsageError(f"{where}: its parameter {name!r} has no value")
        for name in node.inputs:
            if name not in parameters:
                raise UsageError(f"{where} has no parameter {name!r}{close_match(name, parameters)}")
        for name, source in node.sources.items():
            _check_source(source, nodes, f"{where}, parameter {name!r}")
        if isinstance(node.condition, Output):
            _check_source(node.condition, nodes, f"{where}, condition")
    for name, value in graph.outputs.items():
        if isinstance(value, Output):
            _check_source(value, nodes, f"pipeline {graph.name!r}, output {name!r}")


def _check_source(source: Output, nodes: Mapping[str, Node], where: str) -> None:
    if source.node not in nodes:
        raise UsageError(f"{where}: there is no step {source.node!r}{close_match(source.node, nodes)}")
    outputs = nodes[source.node].step.outputs
    if source.name not in outputs:
        raise UsageError(f"{where}: step {source.node!r} has no output {source.name!r}")


def _circle(waiting: list[Node]) -> list[str]:
    """Return the names along one circle: every waiting node waits for a waiting one, so walking back must close it."""
    nodes = {node.name: node for node in waiting}
    path = [waiting[0].name]
    while True:
        before = next(name for name in nodes[path[-1]].needs if name in nodes)
        if before in path:
            return [before, *reversed(path[path.index(before) :])]
        path.append(before)
