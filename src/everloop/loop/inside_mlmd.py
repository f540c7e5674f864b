"""Runs in ML Metadata's environment: `python inside_mlmd.py ORDER FILE` writes lineage into a new store.

A pipeline, a run and a model version are contexts (the first is the parent of the second), an execution's type is
"pipeline.step", an artifact's "everloop.FORMAT"; events carry the names of parameters and outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

STATES = {
    "finished": pb.Execution.COMPLETE, "cached": pb.Execution.CACHED, "failed": pb.Execution.FAILED,
    "running": pb.Execution.RUNNING,
}  # fmt: skip


class Writer:
    """Writes one order into one store."""

    def __init__(self, file: str, order: dict[str, Any]) -> None:
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = file
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store, self.order = metadata_store.MetadataStore(config), order
        self.artifacts: dict[str, Any] = {}
        self.types: dict[str, int] = {}

    def write(self) -> None:
        pipelines: dict[str, int] = {}
        runs: dict[str, Any] = {}
        for run in self.order["runs"]:
            name = run["pipeline"]
            if name not in pipelines:
                pipelines[name] = self._context("everloop.pipeline", name, {"project": self.order["project"]}).id
            told = {"status": run["status"], "commit": run["commit"] or "", "started": run["started"]}
            runs[run["id"]] = self._context("everloop.run", run["id"], told)
            link = pb.ParentContext(parent_id=pipelines[name], child_id=runs[run["id"]].id)
            self.store.put_parent_contexts([link])
            done = [self._execution(run, execution, runs[run["id"]]) for execution in run["executions"]]
            for version in self.order["versions"]:
                if version["run"] == run["id"]:
                    facts = {name: version[name] for name in ("stage", "sha256", "data_version")}
                    context = self._context("everloop.model_version", version["id"], facts)
                    links = [pb.Association(context_id=context.id, execution_id=id) for id in done]
                    self.store.put_attributions_and_associations([], links)

    def _execution(self, run: dict[str, Any], one: dict[str, Any], context: Any) -> int:
        names = {"key": pb.STRING, "started": pb.DOUBLE, "finished": pb.DOUBLE, "error": pb.STRING}
        execution = pb.Execution(
            type_id=self._type(pb.ExecutionType, f"{run['pipeline']}.{one['step']}", names),
            name=f"{run['id']} {one['step']} {one['id']}",
            last_known_state=STATES[one["status"]],
        )
        for name in names:
            if one[name] is not None:
                field = "double_value" if isinstance(one[name], float) else "string_value"
                setattr(execution.properties[name], field, one[name])
        linked = []
        for direction, kind in (("inputs", pb.Event.INPUT), ("outputs", pb.Event.OUTPUT)):
            for name, artifact in one[direction].items():
                event = pb.Event(type=kind, path=pb.Event.Path(steps=[pb.Event.Path.Step(key=name)]))
                linked.append((self._artifact(artifact), event))
        id, _, _ = self.store.put_execution(execution, linked, [context])
        return int(id)

    def _artifact(self, known: dict[str, Any]) -> Any:
        kind = self._type(pb.ArtifactType, f"everloop.{known['format']}", {"sha256": pb.STRING, "size": pb.INT})
        if known["id"] not in self.artifacts:
            made = pb.Artifact(type_id=kind, name=known["id"], uri=f"{self.order['artifacts']}/{known['uri']}")
            made.state = pb.Artifact.LIVE
            made.properties["sha256"].string_value = known["id"]
            made.properties["size"].int_value = known["size"]
            (made.id,) = self.store.put_artifacts([made])
            self.artifacts[known["id"]] = made
        return self.artifacts[known["id"]]

    def _context(self, kind: str, name: str, facts: dict[str, Any]) -> Any:
        shape = {key: pb.DOUBLE if isinstance(value, float) else pb.STRING for key, value in facts.items()}
        made = pb.Context(type_id=self._type(pb.ContextType, kind, shape), name=name)
        for key, value in facts.items():
            setattr(made.properties[key], "double_value" if isinstance(value, float) else "string_value", value)
        (made.id,) = self.store.put_contexts([made])
        return made

    def _type(self, kind: Any, name: str, properties: dict[str, Any]) -> int:
        if name not in self.types:
            put = {
                pb.ArtifactType: self.store.put_artifact_type,
                pb.ExecutionType: self.store.put_execution_type,
                pb.ContextType: self.store.put_context_type,
            }[kind]
            self.types[name] = put(kind(name=name, properties=properties))
        return self.types[name]


def main(order_file: str, file: str) -> None:
    """Write, then say how many artifacts, executions, contexts and events there are."""
    writer = Writer(file, json.loads(Path(order_file).read_text()))
    writer.write()
    store = writer.store
    executions = store.get_executions()
    events = store.get_events_by_execution_ids([e.id for e in executions]) if executions else []
    told = {"artifacts": len(store.get_artifacts()), "executions": len(executions)}
    print(json.dumps({**told, "contexts": len(store.get_contexts()), "events": len(events)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
