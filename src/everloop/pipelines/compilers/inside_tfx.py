"""Runs in TFX's environment: `python inside_tfx.py ORDER` makes a component of each pod and runs them locally.

Everloop is not installed there. A component's executor calls our entry point in the project's Python and stores what
the nodes made as the properties of its output, so that ML Metadata links them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import Artifact, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter


class EverloopOutputs(Artifact):  # type: ignore[misc]
    """What the nodes of one pod made: the ids of Everloop's artifacts by node and output."""

    TYPE_NAME = "EverloopOutputs"


class Calls(base_executor.BaseExecutor):  # type: ignore[misc]
    """Calls our entry point."""

    def Do(self, _inputs: Any, outputs: Any, properties: Any) -> None:
        (made,) = outputs["made"]
        file = Path(made.uri, "outputs.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([*json.loads(properties["command"]), "--out", str(file)], check=True)
        for node, artifacts in json.loads(file.read_text()).items():
            for name, artifact in artifacts.items():
                made.set_string_custom_property(f"{node}.{name}", artifact["id"])
        made.set_string_custom_property("everloop_run", properties["run"])


def component(pod: dict[str, Any], run: str, before: dict[str, Any]) -> Any:
    """Return the component of a pod; its inputs are the outputs of those before it."""
    inputs = {f"from_{place}": ChannelParameter(type=EverloopOutputs) for place in range(len(pod["after"]))}
    parameters = {"command": ExecutionParameter(type=str), "run": ExecutionParameter(type=str)}
    outputs = {"made": ChannelParameter(type=EverloopOutputs)}
    shape = {"PARAMETERS": parameters, "INPUTS": inputs, "OUTPUTS": outputs}
    spec_class: Any = type("Spec", (ComponentSpec,), shape)
    how = {"SPEC_CLASS": spec_class, "EXECUTOR_SPEC": executor_spec.ExecutorClassSpec(Calls)}
    component_class: Any = type("Node", (base_component.BaseComponent,), how)
    given = {f"from_{place}": before[name].outputs["made"] for place, name in enumerate(pod["after"])}
    made = Channel(type=EverloopOutputs)
    return component_class(spec_class(command=json.dumps(pod["command"]), run=run, made=made, **given)).with_id(
        pod["name"]
    )


def main(order_file: str) -> None:
    """Carry out an order."""
    order = json.loads(Path(order_file).read_text())
    made: dict[str, Any] = {}
    for pod in order["pods"]:
        made[pod["name"]] = component(pod, order["run"], made)
    folder = Path(order["folder"])
    LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name=order["pipeline"],
            pipeline_root=str(folder / "outputs"),
            components=list(made.values()),
            enable_cache=False,  # ours is on
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(folder / "metadata.db")),
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
