"""Kubeflow Pipelines in miniature: runs compiled IR pod by pod, each a process, behind the v2beta1 paths of its API.

Images are not pulled: a pod's command runs on this machine. What is between pods travels as IR says, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

Values = dict[str, Any]


class IR:
    """One compiled pipeline."""

    def __init__(self, text: str, places: Values | None = None) -> None:
        """`places` says what stands here for a word of a command: a folder or a program of the image."""
        self.spec, *others = yaml.safe_load_all(text)
        self.platform = others[0]["platforms"]["kubernetes"] if others else {}
        self.places = places or {}
        self.pods: list[str] = []
        """The executors that ran, in their order."""

    def run(self, parameters: Values, job: str) -> None:
        """Run all pods; raises `CalledProcessError` for one that fails."""
        declared = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = {name: how.get("defaultValue") for name, how in declared.items()} | parameters
        missing = [name for name, value in given.items() if value is None]
        assert not missing, f"parameters without a value: {missing}"
        assert not given.keys() - declared.keys(), "unknown parameters"
        self._dag(self.spec["root"]["dag"], given, job)

    def _dag(self, dag: Values, given: Values, job: str) -> None:
        outputs: dict[str, Values] = {}
        waiting = dict(dag["tasks"])
        while waiting:
            ready = [n for n, task in waiting.items() if set(task.get("dependentTasks", ())) <= outputs.keys()]
            assert ready, f"tasks wait for each other: {list(waiting)}"
            for name in ready:
                outputs[name] = self._task(waiting.pop(name), given, outputs, job)

    def _task(self, task: Values, given: Values, outputs: dict[str, Values], job: str) -> Values:
        values = {n: _value(how, given, outputs) for n, how in task.get("inputs", {}).get("parameters", {}).items()}
        if condition := task.get("triggerPolicy", {}).get("condition"):
            match = re.fullmatch(r"inputs\.parameter_values\['([^']+)'\] == '([^']*)'", condition)
            assert match, condition
            if values[match[1]] != match[2]:
                return {}
        component = self.spec["components"][task["componentRef"]["name"]]
        if loop := task.get("parameterIterator"):
            for item in values.pop(loop["items"]["inputParameter"]):
                self._component(component, {**values, loop["itemInput"]: item}, job)
            return {}
        return self._component(component, values, job)

    def _component(self, component: Values, values: Values, job: str) -> Values:
        if "dag" in component:
            self._dag(component["dag"], values, job)
            return {}
        container = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        self.pods.append(component["executorLabel"])
        with tempfile.TemporaryDirectory() as folder:
            command = [_filled(text, values, folder, job) for text in [*container["command"], *container["args"]]]
            subprocess.run([self.places.get(word, word) for word in command], check=True)
            declared = component.get("outputDefinitions", {}).get("parameters", {})
            read = {name: Path(folder, name).read_text() for name in declared}
        return {n: json.loads(t) if declared[n]["parameterType"] == "LIST" else t for n, t in read.items()}


def _value(how: Values, given: Values, outputs: dict[str, Values]) -> Any:
    if "componentInputParameter" in how:
        return given[how["componentInputParameter"]]
    if "taskOutputParameter" in how:
        told = how["taskOutputParameter"]
        return outputs[told["producerTask"]][told["outputParameterKey"]]
    return how["runtimeValue"]["constant"]


def _filled(text: str, values: Values, folder: str, job: str) -> str:
    text = re.sub(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}", lambda m: str(values[m[1]]), text)
    text = re.sub(r"\{\{\$\.outputs\.parameters\['([^']+)'\]\.output_file\}\}", lambda m: f"{folder}/{m[1]}", text)
    return text.replace("{{$.pipeline_job_uuid}}", job)


class Api:
    """What the server holds, by id, as the API shows it."""

    def __init__(self) -> None:
        self.pipelines: dict[str, Values] = {}
        self.versions: dict[str, Values] = {}
        self.experiments: dict[str, Values] = {}
        self.runs: dict[str, Values] = {}
        self.recurring: dict[str, Values] = {}
        self.address = ""
        self.places: Values = {}

    def execute(self, run: Values) -> None:
        """Work a run off, as the cluster would."""
        version = self.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
        run["state"] = "RUNNING"
        try:
            IR(version["text"], self.places).run(run["runtime_config"]["parameters"], run["run_id"])
            run["state"] = "SUCCEEDED"
        except Exception as error:
            run["state"], run["error"] = "FAILED", {"message": str(error)}


@contextlib.contextmanager
def kubeflow() -> Iterator[Api]:
    """Serve the API on a port of its own."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            self._answer(_get(api, path.removeprefix("/apis/v2beta1/"), urllib.parse.parse_qs(query)))

        def do_POST(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            names = {n: v[0] for n, v in urllib.parse.parse_qs(query).items()}
            self._answer(_post(api, path.removeprefix("/apis/v2beta1/"), names, body))

        def _answer(self, found: Values | None) -> None:
            data = json.dumps(found if found is not None else {"error": "not found", "code": 5}).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield api
        server.shutdown()
        thread.join()


def _get(api: Api, path: str, query: dict[str, list[str]]) -> Values | None:
    kinds = {"pipelines": api.pipelines, "runs": api.runs, "experiments": api.experiments}
    if path == "healthz":
        return {"multi_user": False}
    if match := re.fullmatch(r"pipelines/([^/]+)/versions", path):
        return _listed("pipeline_versions", [v for v in api.versions.values() if v["pipeline_id"] == match[1]], query)
    kind, _, id = path.partition("/")
    return kinds[kind].get(id) if id else _listed(kind, list(kinds[kind].values()), query)


def _listed(name: str, things: list[Values], query: dict[str, list[str]]) -> Values:
    for predicate in json.loads(query.get("filter", ["{}"])[0]).get("predicates", []):
        value = predicate.get("string_value", predicate.get("stringValue"))
        things = [thing for thing in things if thing[predicate["key"]] == value]
    return {name: things, "total_size": len(things)} if things else {}


def _post(api: Api, path: str, names: dict[str, str], body: bytes) -> Values | None:
    if path.startswith("pipelines/upload"):
        boundary = body.split(b"\r\n", 1)[0]
        text = body.split(boundary)[1].split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n").decode()
        if path == "pipelines/upload":
            made: Values = {"pipeline_id": f"p{len(api.pipelines)}", "display_name": names["name"]}
            api.pipelines[made["pipeline_id"]] = made
            version = {"display_name": names["name"]}
        else:
            made = {"pipeline_id": names["pipelineid"]}
            version = {"display_name": names["name"]}
        version |= {"pipeline_id": made["pipeline_id"], "pipeline_version_id": f"v{len(api.versions)}", "text": text}
        api.versions[version["pipeline_version_id"]] = version
        return made if path == "pipelines/upload" else {k: v for k, v in version.items() if k != "text"}
    given = json.loads(body)
    if path == "experiments":
        made = given | {"experiment_id": f"e{len(api.experiments)}"}
        return api.experiments.setdefault(made["experiment_id"], made)
    if path == "recurringruns":
        made = given | {"recurring_run_id": f"rr{len(api.recurring)}"}
        return api.recurring.setdefault(made["recurring_run_id"], made)
    if path == "runs":
        made = given | {"run_id": f"run{len(api.runs)}", "state": "PENDING"}
        api.runs[made["run_id"]] = made
        threading.Thread(target=api.execute, args=(made,)).start()
        return dict(made)
    return None
