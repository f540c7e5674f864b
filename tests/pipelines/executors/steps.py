"""Steps that the tests of executors run: a process of its own must be able to import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from everloop.errors import DataError
from everloop.pipelines import Resources, each, pipeline, project_folder, step


class Parts(NamedTuple):
    """Two outputs."""

    low: dict[str, NDArray[Any]]
    process: int


@step
def add(left: int, right: dict[str, int]) -> int:
    return left + right["value"]


@step(preload=("numpy", "no_such_module"))
def split(values: dict[str, NDArray[Any]], below: float) -> Parts:
    print("splitting")
    return Parts({name: column[column < below] for name, column in values.items()}, os.getpid())


@step
def refuse(reason: str) -> int:
    print("before the end")
    raise DataError(reason)


@step
def killed(number: int) -> int:
    os.kill(os.getpid(), number)
    return number


@step(timeout="200ms")
def endless() -> int:
    while True:
        time.sleep(1)


@step
def meet(folder: str, name: str, others: list[str]) -> str:
    """Return once all others have begun too: it ends only where they run at the same time."""
    (Path(folder) / name).touch()
    while not all((Path(folder) / other).exists() for other in others):
        time.sleep(0.01)
    return name


@step(retries=2, backoff="10s")
def second_time_lucky(folder: str) -> int:
    tries = sorted(Path(folder).glob("try-*"))
    (Path(folder) / f"try-{len(tries)}").touch()
    if len(tries) < 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(tries)


@step
def wrong_result(_: int) -> Parts:
    return (1, 2)  # type: ignore[return-value]


@step
def place(_: int) -> str:
    return str(project_folder())


@step
def node_of(name: str, names: list[str], folder: str) -> str:
    """Return the Ray node this runs on, once all others have begun too."""
    import ray

    (Path(folder) / name).touch()
    while not all((Path(folder) / other).exists() for other in names):
        time.sleep(0.01)
    return str(ray.get_runtime_context().get_node_id())


@step(resources=Resources(cpu=2))
def begin_twice(folder: str) -> int:
    """Wait for the end the first time; it comes back only where another node begins it again."""
    begun = len(list(Path(folder).glob("began-*"))) + 1
    (Path(folder) / f"began-{begun}").touch()
    while begun == 1:
        time.sleep(0.05)
    return begun


@pipeline
def nodes_seen(names: list[str], folder: str) -> list[str]:
    return node_of.map(each(names), names, folder)
