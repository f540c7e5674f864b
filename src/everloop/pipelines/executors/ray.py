"""Steps as tasks of a Ray cluster: placed by their resources, tried again elsewhere when their node is lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from everloop.errors import SystemError_, UsageError
from everloop.pipelines.artifacts import ArtifactStore
from everloop.pipelines.executors import StepResult, StepTask
from everloop.pipelines.executors.local import LocalExecutor
from everloop.pipelines.executors.orders import Order, Reply, carry_out, error_of, failure_of, is_importable, order_of
from everloop.pipelines.step import Step

__all__ = ["RayExecutor", "make"]

_LOST_NODES = 3
_LEFT_OUT = [".git", ".everloop", ".dvc/cache", ".venv", "data", "*.db"]


class RayExecutor:
    """Runs steps on the cluster at `address` ("auto": the one of this machine, or a new one).

    The project's folder travels to the nodes (without data and what `.gitignore` names); Everloop and the project's
    packages must be installed there, and the artifacts lie where all nodes reach them. A step whose node dies is run
    again on another one, three times at most.
    """

    slots = 1_000

    def __init__(self, artifacts: ArtifactStore, root: Path, address: str = "auto") -> None:
        try:
            import ray  # only here: it takes a second
        except ImportError as error:
            raise UsageError("runner 'ray' needs Ray: pip install 'everloop[ray]'") from error
        self._artifacts, self._root = artifacts, root.resolve()
        self._ray: Any = ray
        self._here = LocalExecutor(artifacts)
        self._own = not ray.is_initialized()
        if self._own:
            environment = {"working_dir": str(self._root), "excludes": _LEFT_OUT}
            told: dict[str, Any] = {"runtime_env": environment, "log_to_driver": False, "logging_level": "ERROR"}
            try:
                ray.init(address=address, **told)
            except ConnectionError as error:
                if address != "auto":
                    raise SystemError_(f"there is no Ray cluster at {address}: {error}") from error
                ray.init(include_dashboard=False, **told)
        self._refuse_a_folder_that_others_lack()
        self._task = ray.remote(_carry_out)

    def fits(self, _step: Step[..., Any], _running: Sequence[Step[..., Any]]) -> bool:
        """Ray itself waits for room."""
        return True

    def submit(self, task: StepTask) -> Future[StepResult]:
        """Begin a step somewhere on the cluster; the future carries the step's error."""
        if not is_importable(task):
            return self._here.submit(task)
        needs, order = task.step.resources, order_of(task, self._artifacts.url)
        reference = self._task.options(
            name=task.name,
            num_cpus=needs.cpu,
            memory=needs.bytes or None,
            num_gpus=needs.gpu,
            max_retries=_LOST_NODES,
        ).remote(order, str(self._root))
        future: Future[StepResult] = Future()
        future.set_running_or_notify_cancel()
        late = self._watch(reference, task.step.timeout)
        reference.future().add_done_callback(lambda done: self._settle(done, future, task, late))
        return future

    def close(self) -> None:
        """Leave the cluster; steps that still run there end."""
        if self._own:
            self._ray.shutdown()

    def _watch(self, reference: Any, timeout: float | None) -> threading.Event:
        """Return what is set when a task was ended because it took too long."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._ray.cancel(reference, force=True)

        if timeout is not None:
            timer = threading.Timer(timeout, end)
            timer.daemon = True
            timer.start()
            reference.future().add_done_callback(lambda _: timer.cancel())
        return late

    def _settle(self, done: Future[Any], future: Future[StepResult], task: StepTask, late: threading.Event) -> None:
        try:
            reply: Reply = done.result()
        except Exception as error:
            told = f"it took longer than its timeout of {task.step.timeout:g} s" if late.is_set() else _lost(error)
            future.set_exception(SystemError_(told))
            return
        if reply.failure is None:
            future.set_result(StepResult(reply.outputs, reply.usage))
        else:
            future.set_exception(error_of(reply.failure))

    def _refuse_a_folder_that_others_lack(self) -> None:
        if "://" in self._artifacts.url:
            return
        here = socket.gethostname()
        if others := {n["NodeManagerHostname"] for n in self._ray.nodes() if n["Alive"]} - {here}:
            raise UsageError(
                f"the artifacts lie in a folder of this machine, which {', '.join(sorted(others))} of the Ray cluster "
                "cannot read: set [storage] artifacts to a URL such as 's3://bucket/artifacts'"
            )


def make(artifacts: ArtifactStore, root: Path, address: str) -> RayExecutor:
    """Return the executor on a cluster: the entry point `ray`."""
    return RayExecutor(artifacts, root, address or "auto")


def _carry_out(order: Order, root: str) -> Reply:
    """Run a step on a node: the project's folder is where it was unpacked there."""
    here = str(Path.cwd())
    order.paths = [here, *([f"{here}/src"] if Path(here, "src").is_dir() else []), *order.paths]
    order.folder = here
    order.root = here if order.root == root else order.root
    try:
        return carry_out(order)
    except BaseException as error:
        return Reply(failure=failure_of(error))


def _lost(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"the cluster lost it ({type(error).__name__}): {first}"
