"""Which nodes run in one place: small neighbours together, whatever declares needs of its own alone."""

from __future__ import annotations

from typing import NamedTuple

from everloop.pipelines.declared import Resources
from everloop.pipelines.graph import Graph, Node

__all__ = ["Pod", "pods_of"]


class Pod(NamedTuple):
    """Nodes that run in one place one after the other, and the names of the pods that must be done before."""

    name: str
    nodes: tuple[Node, ...]
    after: tuple[str, ...]

    @property
    def node(self) -> Node:
        """The first node; the only one of a pod with needs of its own."""
        return self.nodes[0]

    @property
    def retries(self) -> int:
        return max(node.step.retries for node in self.nodes)

    @property
    def backoff(self) -> float:
        return max(node.step.backoff for node in self.nodes)


def pods_of(graph: Graph, *, fuse: bool = True) -> list[Pod]:
    """Return the pods of a graph, each after what it needs.

    With `fuse` a node joins the pod that holds all it needs, unless one of both is mapped, under a condition, or
    declares resources, a timeout or an environment. Since all its needs lie there, no circle can come of it.
    """
    groups: list[list[Node]] = []
    place: dict[str, int] = {}
    for node in graph.order():
        before = {place[name] for name in node.needs}
        if fuse and len(before) == 1 and _small(node) and all(map(_small, groups[group := before.pop()])):
            groups[group].append(node)
        else:
            group = len(groups)
            groups.append([node])
        place[node.name] = group
    names = [nodes[0].name for nodes in groups]
    return [Pod(name, tuple(nodes), _after(nodes, names, place)) for name, nodes in zip(names, groups, strict=True)]


def _after(nodes: list[Node], names: list[str], place: dict[str, int]) -> tuple[str, ...]:
    own = place[nodes[0].name]
    return tuple(dict.fromkeys(names[place[need]] for node in nodes for need in node.needs if place[need] != own))


def _small(node: Node) -> bool:
    step = node.step
    plain = step.resources == Resources() and step.timeout is None and step.env is None
    return plain and not node.each and node.condition is True
