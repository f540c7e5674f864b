"""Where something comes from and what was made of it: from predictions, versions and data down to single artifacts."""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy import RowMapping

from everloop import store
from everloop.errors import NotFoundError, UsageError
from everloop.loop.trail import Shown, show
from everloop.loop.workspace import Workspace
from everloop.store import Connection

__all__ = ["Direction", "Edge", "Lineage", "Node", "lineage", "text_of"]

Direction = Literal["up", "down"]


class Node(msgspec.Struct, frozen=True):
    """One thing: an artifact, a step that ran, or the prediction, version or data version that it stands for."""

    id: str
    kind: Literal["artifact", "step", "prediction", "version", "data version"]
    label: str


class Edge(msgspec.Struct, frozen=True):
    """`source` went into `target`; `name` is the parameter or output that it was."""

    source: str
    target: str
    name: str = ""


class Lineage(msgspec.Struct):
    """All that leads to a root (`up`) or was made of it (`down`), nearest first."""

    root: str
    direction: Direction
    nodes: dict[str, Node]
    edges: list[Edge]

    def next_of(self, id: str) -> list[tuple[str, str]]:
        """Return the neighbours one step further from the root, each with what it is called there."""
        if self.direction == "up":
            return [(edge.source, edge.name) for edge in self.edges if edge.target == id]
        return [(edge.target, edge.name) for edge in self.edges if edge.source == id]


def lineage(workspace: Workspace, id: str, direction: Direction) -> Lineage:
    """Return the lineage of a prediction, version, data version or artifact (its id, or eight characters of it).

    Raises `NotFoundError` for what the project does not know, `UsageError` for a thing without lineage.
    """
    found = Lineage(id, direction, {}, [])
    with workspace.store.read() as connection:
        artifact = _artifact(connection, id)
        if artifact is not None:
            found.root = artifact
            _walk(connection, [artifact], found)
        else:
            _from_entity(workspace, connection, show(workspace, id), found)
        _add_versions(connection, found)
    return found


def _from_entity(workspace: Workspace, connection: Connection, shown: Shown, found: Lineage) -> None:
    """Begin at a prediction, a version or a data version."""
    if shown.kind == "prediction" and shown.links.get("version"):
        (version,) = shown.links["version"]
        found.nodes[shown.id] = Node(shown.id, "prediction", f"prediction {shown.id}")
        if found.direction == "up":
            found.edges.append(Edge(version, shown.id, "answered by"))
            _from_entity(workspace, connection, show(workspace, version), found)
    elif shown.kind == "version":
        found.nodes[shown.id] = Node(shown.id, "version", f"version {shown.id}")
        outputs = _outputs(connection, str(shown.record["run"]), "assemble")
        if found.direction == "up":
            found.edges += [Edge(artifact, shown.id, "bundle") for artifact in outputs]
            _walk(connection, outputs, found)
    elif shown.kind == "data version":
        artifact = str(shown.record["artifact"])
        found.nodes[shown.id] = Node(shown.id, "data version", f"{shown.id}: {shown.record['rows']:,} rows")
        found.edges.append(Edge(artifact, shown.id) if found.direction == "up" else Edge(shown.id, artifact))
        _walk(connection, [artifact], found)
    else:
        raise UsageError(f"{shown.id} is a {shown.kind}: lineage is of a prediction, version, data version or artifact")


def _walk(connection: Connection, level: list[str], found: Lineage) -> None:
    """Follow artifacts through the steps that made or took them; steps that took over a result stay out."""
    here, there = ("output", "input") if found.direction == "up" else ("input", "output")
    while level:
        for artifact in level:
            found.nodes[artifact] = _artifact_node(connection, artifact)
        reached: list[str] = []
        for link in _links(connection, level, here):
            step = f"step-{link['execution']}"
            found.edges.append(_edge(link["artifact"], step, here, link["name"]))
            if step in found.nodes:
                continue
            found.nodes[step] = Node(step, "step", f"{link['step']} (run {link['run']})")
            for other in _links_of(connection, link["execution"], there):
                found.edges.append(_edge(other["artifact"], step, there, other["name"]))
                reached.append(other["artifact"])
        level = [artifact for artifact in dict.fromkeys(reached) if artifact not in found.nodes]


def _edge(artifact: str, step: str, direction: str, name: str) -> Edge:
    return Edge(artifact, step, name) if direction == "input" else Edge(step, artifact, name)


def _links(connection: Connection, artifacts: list[str], direction: str) -> list[RowMapping]:
    """Return the steps that ran and have these artifacts on that side; of several that made one, the first."""
    link, execution = store.link.c, store.execution.c
    query = (
        sa.select(link.artifact, link.name, link.execution, execution.step, execution.run)
        .join(store.execution, execution.id == link.execution)
        .where(link.artifact.in_(artifacts), link.direction == direction)
        .where(execution.cached_from.is_(None), execution.status == "finished")
        .order_by(link.id)
    )
    rows = list(connection.execute(query).mappings())
    if direction == "input":
        return rows
    return list({row["artifact"]: row for row in reversed(rows)}.values())[::-1]


def _links_of(connection: Connection, execution: int, direction: str) -> list[RowMapping]:
    link = store.link.c
    query = sa.select(link.artifact, link.name).where(link.execution == execution, link.direction == direction)
    return list(connection.execute(query.order_by(link.id)).mappings())


def _add_versions(connection: Connection, found: Lineage) -> None:
    """Hang data versions on their artifacts and, downwards, versions on what their runs assembled."""
    data, version = store.data_version.c, store.model_version.c
    for row in connection.execute(sa.select(data.id, data.artifact, data.rows)).mappings():
        if row["artifact"] in found.nodes and row["id"] not in found.nodes:
            found.nodes[row["id"]] = Node(row["id"], "data version", f"{row['id']}: {row['rows']:,} rows")
            found.edges.append(_beside(found, row["artifact"], row["id"], ""))
    if found.direction == "down":
        for row in connection.execute(sa.select(version.id, version.run)).mappings():
            for artifact in _outputs(connection, row["run"], "assemble"):
                if artifact in found.nodes and row["id"] not in found.nodes:
                    found.nodes[row["id"]] = Node(row["id"], "version", f"version {row['id']}")
                    found.edges.append(Edge(artifact, row["id"], "bundle"))


def _beside(found: Lineage, artifact: str, id: str, name: str) -> Edge:
    return Edge(id, artifact, name) if found.direction == "up" else Edge(artifact, id, name)


def _outputs(connection: Connection, run: str, step: str) -> list[str]:
    link, execution = store.link.c, store.execution.c
    query = (
        sa.select(link.artifact)
        .join(store.execution, execution.id == link.execution)
        .where(execution.run == run, execution.step == step, link.direction == "output")
    )
    return list(dict.fromkeys(connection.execute(query.order_by(link.id)).scalars()))


def _artifact(connection: Connection, id: str) -> str | None:
    """Return the whole id of an artifact, None where nothing is called so; raises `NotFoundError` for several."""
    if len(id) < 8 or not all(c in "0123456789abcdef" for c in id):
        return None
    known = list(connection.execute(sa.select(store.artifact.c.id).where(store.artifact.c.id.startswith(id))).scalars())
    if len(known) > 1:
        raise NotFoundError("artifact", id, known)
    return known[0] if known else None


def _artifact_node(connection: Connection, id: str) -> Node:
    row = connection.execute(sa.select(store.artifact).where(store.artifact.c.id == id)).mappings().one()
    return Node(id, "artifact", f"{row['format']} {id[:12]}, {row['size']:,} bytes")


def text_of(found: Lineage) -> list[str]:
    """Return a tree, a line each; what stands in it twice is drawn once and named afterwards."""
    lines, drawn = [found.nodes[found.root].label], {found.root}

    def draw(id: str, before: str) -> None:
        neighbours = found.next_of(id)
        for place, (other, name) in enumerate(neighbours):
            last = place == len(neighbours) - 1
            again = " (see above)" if other in drawn else ""
            called = f"{name}: " if name and name != "return" else ""
            lines.append(f"{before}{'└─' if last else '├─'} {called}{found.nodes[other].label}{again}")
            if not again:
                drawn.add(other)
                draw(other, before + ("   " if last else "│  "))

    draw(found.root, "")
    return lines
