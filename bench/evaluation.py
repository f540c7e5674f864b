"""What the evaluation report of the bike-sharing model costs: `python bench/evaluation.py HOUR.CSV [--rounds N]`.

A project is made of the template and trained once; then `everloop evaluate --out` runs as a person runs it, each
time in a process of its own: seconds, seconds of CPU, and its largest memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EVERLOOP = (sys.executable, "-m", "everloop.cli")


def main() -> None:
    """Print a line a round."""
    asked = argparse.ArgumentParser()
    asked.add_argument("data", type=Path)
    asked.add_argument("--rounds", type=int, default=3)
    told = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="everloop-bench-") as place:
        folder = Path(place) / "bike"
        subprocess.run([*EVERLOOP, "init", str(folder), "--template", "bike-sharing"], check=True, capture_output=True)
        for words in (("data", "add", str(told.data.resolve())), ("run",)):
            subprocess.run([*EVERLOOP, *words], check=True, capture_output=True, cwd=folder)
        print(f"{'round':>6}{'seconds':>10}{'CPU s':>8}{'MiB':>8}{'page KiB':>10}")
        for number in range(1, told.rounds + 1):
            seconds, cpu, memory = _once(folder)
            size = (folder / "evaluation.html").stat().st_size / 1024
            print(f"{number:>6}{seconds:>10.1f}{cpu:>8.1f}{memory:>8.0f}{size:>10.0f}")


def _once(folder: Path) -> tuple[float, float, float]:
    start = time.perf_counter()
    process = subprocess.Popen(
        [*EVERLOOP, "evaluate", "--out", "evaluation.html"], cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("everloop evaluate failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
