from __future__ import annotations

import subprocess
import sys

from everloop.replay.usage import Usage


def test_children_count_with_their_cpu_and_their_memory() -> None:
    code = "import time\nheld = bytearray(200_000_000)\n"
    code += "end = time.process_time() + 0.7\nwhile time.process_time() < end: pass"
    with Usage() as usage:
        before = usage.figures()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = usage.figures()
    assert after["cpu_seconds"] - before["cpu_seconds"] >= 0.7
    assert after["wall_seconds"] >= 0.7
    assert after["peak_memory_mib"] - before["peak_memory_mib"] > 150
