"""A pipeline as Kubeflow Pipelines' IR YAML: every pod is the project's image and runs our entry point.

Conditions and fan-out become KFP's own; what is between two steps is in the store and the artifacts, so these must lie
where all pods reach them (PostgreSQL and object storage, or a mounted claim). KFP's cache is off: ours knows the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from everloop.errors import UsageError
from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.compilers import Target
from everloop.pipelines.compilers.pods import Pod, pods_of
from everloop.pipelines.entry import arguments_as_text
from everloop.pipelines.graph import trace
from everloop.pipelines.step import Pipeline

__all__ = ["RUN", "compile_pipeline", "name_of"]

RUN = "everloop_run"
"""The pipeline's parameter that names the run; left empty, it is the id that KFP gives it."""
_GPU = "nvidia.com/gpu"


def name_of(pipeline: Pipeline[..., Any]) -> str:
    """Return what a pipeline is called there."""
    return re.sub(r"[^a-z0-9]+", "-", pipeline.name.lower()).strip("-")


def compile_pipeline(
    pipeline: Pipeline[..., Any],
    arguments: Mapping[str, Any],
    artifacts: ArtifactStore,
    target: Target,
    file: Path,
    *,
    defaults: bool = True,
) -> None:
    """Write the IR YAML; the pipeline's arguments become parameters, with these values as `defaults`.

    Raises UsageError where the target is incomplete.
    """
    dsl, compiler, _ = _kfp()
    if not target.image:
        raise UsageError("pods need the project's image: set [pipelines] image (`everloop image build` makes it)")
    texts = arguments_as_text(pipeline, arguments, artifacts)
    pods = pods_of(trace(pipeline, arguments), fuse=target.fuse)
    writer = _Writer(f"{pipeline.function.__module__}:{pipeline.function.__qualname__}", list(texts), target)

    leaves = {pod.name for pod in pods}.difference(*(pod.after for pod in pods))
    last = pods[-1].name if len(leaves) == 1 else ""
    begin = {pod.name: writer.prepare(pod, finish=pod.name == last) for pod in pods}  # pipelines inside come first

    def whole(*values: Any) -> None:
        given, tasks = dict(zip([RUN, *texts], values, strict=True)), dict[str, Any]()
        for pod in pods:
            tasks[pod.name] = begin[pod.name](given, [tasks[name] for name in pod.after])
        if not last:
            end = pods[-1]._replace(name="finish")
            writer.plain(end, given, finish=True).after(*(tasks[name] for name in sorted(leaves)))

    given = texts if defaults else dict.fromkeys(texts)
    made = dsl.pipeline(_shaped(whole, pipeline.name, {RUN: "" if defaults else None, **given}), name=name_of(pipeline))
    file.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(made, str(file))


_Given = Mapping[str, Any]
_Begin = Callable[[_Given, list[Any]], Any]


class _Writer:
    """Makes the tasks of one pipeline."""

    def __init__(self, reference: str, names: Sequence[str], target: Target) -> None:
        self._reference, self._names, self._target = reference, [RUN, *names], target
        self._dsl, _, self._kubernetes = _kfp()

    def prepare(self, pod: Pod, *, finish: bool) -> _Begin:
        """Return what makes the task of a pod after others: a container, with a loop or a branch before it.

        That container takes what elements gave; one that a condition kept from running is stored as such.
        """
        node = pod.node
        if node.each:
            loop = self._nested(pod, lambda values: self._loop(pod, values), "each")
            return lambda given, before: self.plain(pod, given, finish=finish).after(loop(**given).after(*before))
        if node.condition is not True:
            inner = self._nested(pod, lambda values: self._branch(pod, values), "when", "decided")

            def branch(given: _Given, before: list[Any]) -> Any:
                decided = self.plain(pod, given, mode="decide").after(*before)
                chosen = inner(**given, decided=decided.outputs["decided"])
                return self.plain(pod, given, finish=finish).after(chosen)

            return branch
        return lambda given, before: self.plain(pod, given, finish=finish).after(*before)

    def plain(self, pod: Pod, given: _Given, *, mode: str = "", finish: bool = False) -> Any:
        """Return the task of one container."""
        task = self._container(pod, mode, finish)(**given)
        task.set_caching_options(False)
        if pod.retries:
            task.set_retry(pod.retries, backoff_duration=f"{pod.backoff:g}s", backoff_factor=2.0)
        if mode not in ("decide", "elements"):
            self._place(task, pod)
        return self._equip(task)

    def _loop(self, pod: Pod, given: dict[str, Any]) -> None:
        elements = self.plain(pod, given, mode="elements")
        with self._dsl.ParallelFor(elements.outputs["elements"]) as element:
            self.plain(pod, {**given, "element": element}, mode="element")

    def _branch(self, pod: Pod, given: dict[str, Any]) -> None:
        decided = given.pop("decided")
        with self._dsl.If(decided == "true"):
            self.plain(pod, given, mode="chosen")

    def _nested(self, pod: Pod, body: Callable[[dict[str, Any]], None], kind: str, *more: str) -> Any:
        names = [*self._names, *more]

        def inside(*values: Any) -> None:
            body(dict(zip(names, values, strict=True)))

        name = f"{_identifier(pod.name)}_{kind}"
        return self._dsl.pipeline(_shaped(inside, name, dict.fromkeys(names)), name=name.replace("_", "-"))

    def _container(self, pod: Pod, mode: str, finish: bool) -> Any:
        """Return the component of a container: `mode` says what it does with its node beside running it."""
        inputs = [*self._names, *(["element"] if mode == "element" else [])]
        output = {"decide": "decided", "elements": "elements"}.get(mode)
        annotations: dict[str, Any] = dict.fromkeys(inputs, str)
        if mode == "element":
            annotations["element"] = int
        if output:
            annotations[output] = self._dsl.OutputPath(list if mode == "elements" else str)

        def spec(*values: Any) -> Any:
            given = dict(zip(annotations, values, strict=True))
            told = ["--project", self._target.project, "--pipeline", self._reference]
            told += ["--run", given[RUN], "--job", self._dsl.PIPELINE_JOB_ID_PLACEHOLDER]
            for node in pod.nodes:
                told += ["--node", node.name]
            for name in self._names[1:]:
                told += ["--argument", f"{name}={given[name]}"]
            if mode == "element":
                told += ["--element", given["element"]]
            if output:
                told += [f"--{mode}", given[output]]
            if finish:
                told.append("--finish")
            command = [self._target.python, "-m", "everloop.pipelines.entry"]
            return self._dsl.ContainerSpec(image=self._target.image, command=command, args=told)

        name = f"{_identifier(pod.name)}_{mode}" if mode else _identifier(pod.name)
        return self._dsl.container_component(_annotated(spec, name, annotations))

    def _place(self, task: Any, pod: Pod) -> None:
        """Give a task what its step declares."""
        step = pod.node.step
        needs = step.resources
        task.set_cpu_request(f"{needs.cpu:g}").set_cpu_limit(f"{needs.cpu:g}")
        if needs.bytes:
            memory = f"{-(-needs.bytes // 10**6)}M"
            task.set_memory_request(memory).set_memory_limit(memory)
        if needs.gpu:
            task.set_accelerator_type(_GPU).set_accelerator_limit(needs.gpu)
        if step.timeout:
            self._kubernetes.set_timeout(task, max(1, round(step.timeout)))

    def _equip(self, task: Any) -> Any:
        """Mount the volume and give the secrets."""
        if self._target.volume:
            claim, _, path = self._target.volume.partition(":")
            self._kubernetes.mount_pvc(task, pvc_name=claim, mount_path=path)
        for secret in self._target.secrets:
            match = re.fullmatch(r"([^:]+):([^=]+)=(\w+)", secret)
            if not match:
                raise UsageError(f"[pipelines] secrets: {secret!r}: write 'secret:key=VARIABLE'")
            self._kubernetes.use_secret_as_env(task, secret_name=match[1], secret_key_to_env={match[2]: match[3]})
        return task


def _kfp() -> tuple[Any, Any, Any]:
    try:
        from kfp import compiler, dsl, kubernetes
    except ImportError as error:
        raise UsageError("runner 'kubeflow' needs its SDK: pip install 'everloop[kubeflow]'") from error
    return dsl, compiler, kubernetes


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _shaped(function: Callable[..., Any], name: str, defaults: Mapping[str, str | None]) -> Any:
    """Give a function the name and the text parameters that the SDK reads from it."""
    parameters = [
        inspect.Parameter(
            parameter,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=str,
            default=inspect.Parameter.empty if default is None else default,
        )
        for parameter, default in defaults.items()
    ]
    return _signed(function, name, parameters)


def _annotated(function: Callable[..., Any], name: str, annotations: Mapping[str, Any]) -> Any:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return _signed(function, name, [inspect.Parameter(n, kind, annotation=a) for n, a in annotations.items()])


def _signed(function: Callable[..., Any], name: str, parameters: list[inspect.Parameter]) -> Any:
    signed: Any = function
    signed.__name__ = signed.__qualname__ = _identifier(name)
    signed.__signature__ = inspect.Signature(parameters)
    signed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return signed
