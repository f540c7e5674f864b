"""One case of `bench/pipelines`, in a process of its own: `case.py import`, `case.py chain WHERE STEPS REPEATS`, ..."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def _run(where: str, steps: int, repeats: int, *, check: bool = True) -> tuple[float, float]:
    """Run a chain of steps several times; returns CPU and wall seconds of the last run."""
    from chain import chain

    from everloop.pipelines import ArtifactStore, Engine, IsolatedExecutor, LocalExecutor
    from everloop.store import Store

    root = Path.cwd()
    artifacts = ArtifactStore("artifacts", root)
    store = Store("sqlite:///store.db", root)
    executor = LocalExecutor(artifacts) if where == "local" else IsolatedExecutor(artifacts)
    engine = Engine(store, artifacts, executor, root, time.time)
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        run = engine.run(chain(steps), {"number": 1})
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    expected = "cached" if repeats > 1 else "ran"
    assert not check or {execution.status for execution in run.executions} == {expected}
    executor.close()
    store.close()
    return cpu, wall


def _fan(count: int) -> tuple[float, float, float]:
    """Run one fan-out; returns CPU and wall seconds, and the peak of this process's memory in MiB."""
    from chain import fan

    from everloop.pipelines import ArtifactStore, Engine, LocalExecutor
    from everloop.store import Store

    root = Path.cwd()
    artifacts, store = ArtifactStore("artifacts", root), Store("sqlite:///store.db", root)
    cpu, wall = time.process_time(), time.perf_counter()
    run = Engine(store, artifacts, LocalExecutor(artifacts), root, time.time).run(fan, {"count": count})
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert run.value == list(range(1, count + 1))
    store.close()
    return cpu, wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1] == "import":
        import everloop.pipelines.engine  # noqa: F401

        print("[0, 0]")
    elif sys.argv[1] == "fan":
        print(json.dumps(_fan(int(sys.argv[2]))))
    elif sys.argv[1] == "cached":
        print(json.dumps(_run("isolated", int(sys.argv[2]), 1, check=False)))
    else:
        print(json.dumps(_run(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
