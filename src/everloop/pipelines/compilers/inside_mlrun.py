"""Runs in MLRun's environment: `python inside_mlrun.py ORDER` makes a function of each pod and runs it.

Everloop is not installed there. A handler calls our entry point in the project's Python, then logs what the nodes made
as MLRun's results and artifacts; the run objects are kept as JSON beside the log.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def node(context: Any, command: list[str], folder: str) -> None:
    """Run one pod: MLRun's handler."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"{context.name}.json"
    subprocess.run([*command, "--out", str(file)], check=True)
    for name, artifacts in json.loads(file.read_text()).items():
        for output, artifact in artifacts.items():
            context.log_result(f"{name}.{output}", artifact["id"])
            context.log_result(f"{name}.{output}.bytes", artifact["size"])
    artifacts = str(place.parents[1] / "artifacts")
    context.log_artifact("outputs", local_path=str(file), format="json", artifact_path=artifacts)


def main(order_file: str) -> None:
    """Carry out an order."""
    import mlrun

    order = json.loads(Path(order_file).read_text())
    folder = Path(order["folder"])
    outputs = folder / "outputs" / order["run"]
    kept = []
    for pod in order["pods"]:
        name = pod["name"].replace("_", "-")
        function = mlrun.code_to_function(
            name, filename=__file__, kind="job", handler="node", image="mlrun/mlrun", project=order["pipeline"]
        )
        run = function.run(
            name=name,
            params={"command": pod["command"], "folder": str(outputs)},
            local=True,
        )
        kept.append(run.to_dict())
        if run.state() != "completed":
            sys.exit(f"{name} ended as {run.state()}: {run.error}")
    (folder / f"{order['run']}.json").write_text(json.dumps(kept, default=str))


if __name__ == "__main__":
    main(sys.argv[1])
