"""What a pipeline costs beside its steps: a cold process with 5 trivial steps, 20 cached steps, one step more.

Each case is a process of its own with a store of its own; the median of several is printed. CPU seconds are user and
system time of that process. Run `python bench/pipelines.py`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 5
CASES = {
    "import of everloop.pipelines": "import",
    "5 trivial steps, cold process": "chain 5 1",
    "20 trivial steps, cold process": "chain 20 1",
    "20 trivial steps, then the same cached": "chain 20 2",
}


def main() -> None:
    """Measure every case and print a table."""
    figures = {name: _median(case.split()) for name, case in CASES.items()}
    print(f"{'case (median of ' + str(REPEATS) + ' processes)':<46}{'CPU s':>9}{'wall s':>9}")
    for name, (cpu, wall, *_) in figures.items():
        print(f"{name:<46}{cpu:>9.3f}{wall:>9.3f}")
    five, twenty, cached = list(figures.values())[1:]
    print("inside of these processes, the run alone:")
    for name, at in (("5 steps run", five), ("20 steps run", twenty), ("20 steps cached", cached)):
        print(f"{name:<46}{at[2]:>9.3f}{at[3]:>9.3f}")
    more = [(twenty[column] - five[column]) / 15 for column in (2, 3)]
    print(f"{'one step more, run':<46}{more[0]:>9.4f}{more[1]:>9.4f}")
    print(f"{'one step of the 20, cached':<46}{cached[2] / 20:>9.4f}{cached[3] / 20:>9.4f}")


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


def _run(steps: int, repeats: int) -> tuple[float, float]:
    """Run a chain of steps several times; returns CPU and wall seconds of the last run."""
    from everloop.pipelines import ArtifactStore, Engine, LocalExecutor, pipeline, step
    from everloop.store import Store

    @step
    def add(number: int, by: int) -> int:
        return number + by

    @pipeline
    def chain(number: int) -> int:
        for by in range(steps):
            number = add(number, by)
        return number

    root = Path.cwd()
    artifacts = ArtifactStore("artifacts", root)
    store = Store("sqlite:///store.db", root)
    engine = Engine(store, artifacts, LocalExecutor(artifacts), root, time.time)
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        run = engine.run(chain, {"number": 1})
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    expected = "cached" if repeats > 1 else "ran"
    assert {execution.status for execution in run.executions} == {expected}
    store.close()
    return cpu, wall


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "import":
        import everloop.pipelines  # noqa: F401

        print("[0, 0]")
    else:
        print(json.dumps(_run(int(sys.argv[2]), int(sys.argv[3]))))
