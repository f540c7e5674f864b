"""What the evaluation report of a template's model costs: `python bench/evaluation.py HOUR.CSV [--rounds N]`.

A project is made of the template (`--template`, bike-sharing by default) and trained once; then `everloop evaluate
--out`, with `--attacks` where that is asked for, runs as a person runs it, each time in a process of its own: seconds,
seconds of CPU, and its largest memory.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from command import everloop, timed


def main() -> None:
    """Print a line a round."""
    asked = argparse.ArgumentParser()
    asked.add_argument("data", type=Path)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--template", default="bike-sharing")
    asked.add_argument("--attacks", action="store_true")
    told = asked.parse_args()
    more = ("--attacks",) if told.attacks else ()
    with tempfile.TemporaryDirectory(prefix="everloop-bench-") as place:
        folder = Path(place) / "project"
        everloop(Path(place), "init", str(folder), "--template", told.template)
        everloop(folder, "data", "add", str(told.data.resolve()))
        everloop(folder, "run")
        print(f"{'round':>6}{'seconds':>10}{'CPU s':>8}{'MiB':>8}{'page KiB':>10}")
        for number in range(1, told.rounds + 1):
            seconds, cpu, memory = timed(folder, "evaluate", "--out", "evaluation.html", *more)
            size = (folder / "evaluation.html").stat().st_size / 1024
            print(f"{number:>6}{seconds:>10.1f}{cpu:>8.1f}{memory:>8.0f}{size:>10.0f}")


if __name__ == "__main__":
    main()
