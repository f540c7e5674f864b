"""What computes is told at each start, and found again for every record."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import onnxruntime
from tests.journal.disks import append, read_all

from everloop.journal import Writer
from everloop.journal.machine import SERVER, Machine, announce, server_before, this_machine

CPU = """processor\t: 0
model name\t: A CPU @ 2 GHz
flags\t\t: fpu avx2 vme fma avx512_vnni sse4_1

processor\t: 1
flags\t\t: none
"""


def test_this_machine(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(CPU)
    found = this_machine(2, tmp_path / "cpuinfo")
    assert (found.cpu, found.features) == ("A CPU @ 2 GHz", ["avx2", "avx512_vnni", "fma", "sse4_1"])
    assert found.onnxruntime == onnxruntime.__version__
    assert found.build
    assert found.threads == 2
    assert this_machine(1, tmp_path / "none").features == []
    assert this_machine() == this_machine()


def test_what_differs_is_named() -> None:
    then = Machine("1.23", "a", "x86_64", ["avx2"], 1, "one")
    assert then.differences(msgspec.structs.replace(then, cpu="another")) == []
    now = Machine("1.24", "b", "aarch64", ["asimd"], 2)
    assert then.differences(now) == [
        "ONNX Runtime 1.24, then 1.23",
        "its build b, then a",
        "CPU aarch64, then x86_64",
        "threads 2, then 1",
        "CPU features asimd, avx2",
    ]


def test_a_record_leads_to_the_start_before_it(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path, segment_bytes=500)) as writer:
        append(writer, "old")
        announce(writer, 5.0)
        append(writer, "a", "b", size=600)
    other = Machine("0", "other", "none", [])
    with contextlib.closing(Writer(tmp_path)) as writer:
        writer.append(SERVER, "x", 6.0, msgspec.json.encode(other))
        append(writer, "c")
    numbers = {r.id: r.number for r in read_all(tmp_path)}
    assert server_before(tmp_path, numbers["old"]) is None
    assert server_before(tmp_path, numbers["a"]) == server_before(tmp_path, numbers["b"]) == this_machine()
    assert server_before(tmp_path, numbers["c"]) == other
    assert [r.number for r in read_all(tmp_path) if r.kind == SERVER] == [2, 5]
