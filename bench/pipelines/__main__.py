"""What a pipeline costs beside its steps: a cold process with 5 trivial steps, 20 cached steps, one step more, fan-out.

Steps run in this process (`local`) or each in one of its own (`isolated`, as in the product), forked from a process
whose CPU seconds count too.

Each case is a process of its own with a store of its own; the median of several, taken in turns with those of peers, is
printed. CPU seconds are user and system time of the process and its children. Peers are installed by uv where they are
first asked for; each runs once before, so that what it sets up once does not count.

    python bench/pipelines [--peers metaflow,dagster,zenml,kedro] [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from peers import LEFT_OUT, PEERS
from peers import run as run_peer

REPEATS = 5
CASES = {
    "import of everloop.pipelines": "import",
    "5 trivial steps, cold process, local": "chain local 5 1",
    "5 trivial steps, cold process, isolated": "chain isolated 5 1",
    "20 trivial steps, cold process, local": "chain local 20 1",
    "20 trivial steps, cold process, isolated": "chain isolated 20 1",
    "20 trivial steps, then the same cached": "chain isolated 20 2",
    "20 cached steps, cold process": "cached 20",
}


def main() -> None:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help=f"of {', '.join(PEERS)}, or all")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    told = parser.parse_args()
    asked = list(PEERS) if told.peers == "all" else [name for name in told.peers.split(",") if name]
    if asked:
        _beside_peers(asked, told.repeats)
    _alone()


def _beside_peers(names: list[str], repeats: int) -> None:
    """Print the CPU seconds of 5 steps in a cold process, beside those of peers."""
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place, name) for name in names}
        for name, folder in folders.items():
            folder.mkdir()
            first = run_peer(name, folder, 5)
            if first.returncode:
                sys.exit(f"{name} does not run: {(first.stderr or first.stdout).strip().splitlines()[-1]}")
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(repeats):
            for where in ("local", "isolated"):
                found.setdefault(f"everloop, {where}", []).append(_measure(["chain", where, "5", "1"])[:2])
            for name, folder in folders.items():
                found.setdefault(name, []).append(_timed(lambda n=name, f=folder: run_peer(n, f, 5)))
    cpu = {name: statistics.median(times[0] for times in all_) for name, all_ in found.items()}
    both = [cpu[name] for name in names if PEERS[name].lineage]
    print(f"{'5 trivial steps, cold process':<46}{'CPU s':>9}{'wall s':>9}")
    for name, times in found.items():
        without = "" if name not in PEERS or PEERS[name].lineage else " (no lineage)"
        print(f"{name + without:<46}{cpu[name]:>9.3f}{statistics.median(t[1] for t in times):>9.3f}")
    for where in ("local", "isolated") if both else ():
        ratio = cpu[f"everloop, {where}"] / min(both)
        print(f"{f'{where}, of the fastest that stores both':<46}{ratio:>9.2f}")
    print()


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    before, started = os.times(), time.perf_counter()
    call()
    wall, after = time.perf_counter() - started, os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, wall


def _alone() -> None:
    figures = {name: _median(case.split()) for name, case in CASES.items()}
    print(f"{'case (median of ' + str(REPEATS) + ' processes)':<46}{'CPU s':>9}{'wall s':>9}")
    for name, (cpu, wall, *_) in figures.items():
        print(f"{name:<46}{cpu:>9.3f}{wall:>9.3f}")
    local, isolated, locals_, many, cached, _ = list(figures.values())[1:]
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
        command, told = [sys.executable, str(Path(__file__).with_name("case.py")), *case], list[str]()

        variables = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}

        def call() -> None:
            done = subprocess.run(command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True, check=True)
            told.append(done.stdout)

        if case[0] == "cached":
            call()
            told.clear()
        times = _timed(call)
    return (*times, *json.loads(told[0]))


if __name__ == "__main__":
    main()
