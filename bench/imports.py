"""What starting costs: CPU seconds of importing the parts that a person or a server waits for.

Each is a process of its own; the least of several is printed, beside the floor (an interpreter that does nothing) and
what the serving import cannot do without (numpy and onnxruntime). Run `python bench/imports.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys

REPEATS = 7
CASES = {
    "an interpreter alone": "pass",
    "numpy, onnxruntime": "import numpy, onnxruntime",
    "everloop.serving": "import everloop.serving",
    "the whole server": "import everloop.serving.app, everloop.serving.server",
    "everloop --help": "import sys; sys.argv = ['everloop', '--help']; from everloop.cli import main; main()",
    "the controller": "import everloop.loop.process",
}


def main() -> None:
    """Print the least CPU seconds of each case, interleaved so that all see the same neighbours."""
    least = dict.fromkeys(CASES, float("inf"))
    for _ in range(REPEATS):
        for name, code in CASES.items():
            least[name] = min(least[name], _cpu(code))
    floor = least["an interpreter alone"]
    print(f"{'import':<30}{'CPU s':>9}{'over the floor':>16}")
    for name, seconds in least.items():
        print(f"{name:<30}{seconds:>9.3f}{seconds - floor:>16.3f}")


def _cpu(code: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
