"""What a pipeline costs beside its steps: a cold process with 5 trivial steps, 20 cached steps, one step more, fan-out.

Steps run in this process (`local`) or each in one of its own (`isolated`, as in the product), forked from a process
whose CPU seconds count too.

Each case is a process of its own with a store of its own; the median of several is printed. CPU seconds are user and
system time of that process. Run `python bench/pipelines.py`.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 5
CASES = {
    "import of everloop.pipelines": "import",
    "5 trivial steps, cold process, local": "chain local 5 1",
    "5 trivial steps, cold process, isolated": "chain isolated 5 1",
    "20 trivial steps, cold process, local": "chain local 20 1",
    "20 trivial steps, cold process, isolated": "chain isolated 20 1",
    "20 trivial steps, then the same cached": "chain isolated 20 2",
}


def main() -> None:
    """Measure every case and print a table."""
    figures = {name: _median(case.split()) for name, case in CASES.items()}
    print(f"{'case (median of ' + str(REPEATS) + ' processes)':<46}{'CPU s':>9}{'wall s':>9}")
    for name, (cpu, wall, *_) in figures.items():
        print(f"{name:<46}{cpu:>9.3f}{wall:>9.3f}")
    local, isolated, locals_, many, cached = list(figures.values())[1:]
    for name, few, more in (("local", local, locals_), ("isolated", isolated, many)):
        one = [(more[column] - few[column]) / 15 for column in (0, 1)]
        print(f"{f'one step more, {name}':<46}{one[0]:>9.4f}{one[1]:>9.4f}")
    print(f"{'inside of the process: 20 steps cached':<46}{cached[2]:>9.3f}{cached[3]:>9.3f}")
    for count in (100, 1000):
        cpu, wall, memory = _measure(["fan", str(count)])[2:]
        told = f"fan-out over {count}, local, a call ({memory:.0f} MiB)"
        print(f"{told:<46}{cpu / count:>9.4f}{wall / count:>9.4f}")


def _median(case: list[str]) -> tuple[float, ...]:
    """Return CPU and wall seconds of the process, then of the last run inside of it."""
    return tuple(statistics.median(column) for column in zip(*(_measure(case) for _ in range(REPEATS)), strict=True))


def _measure(case: list[str]) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory() as folder:
        before, started = os.times(), time.perf_counter()
        command = [sys.executable, __file__, *case]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        wall, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return (cpu, wall, *json.loads(done.stdout))


def _run(where: str, steps: int, repeats: int) -> tuple[float, float]:
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
    assert {execution.status for execution in run.executions} == {expected}
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
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "import":
        import everloop.pipelines  # noqa: F401

        print("[0, 0]")
    elif sys.argv[1] == "fan":
        print(json.dumps(_fan(int(sys.argv[2]))))
    else:
        print(json.dumps(_run(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
