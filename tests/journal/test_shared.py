"""Processes that share a journal: one numbering, nothing lost or doubled, also when they are killed amid a turn."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.serving.sites import read_journal

from everloop.errors import BusyError
from everloop.journal import Writer
from everloop.journal.segments import segments

FORK = multiprocessing.get_context("fork")


def write_for_ever(folder: Path, name: str, mode: Any, acknowledged: int) -> None:
    """Append batches of records, and tell each one's id once it is safe."""
    writer = Writer(folder, mode, segment_bytes=20_000, shared=True)
    for number in itertools.count():
        ids = [f"{name}-{number}-{row}" for row in range(3)]
        for id in ids:
            writer.append("prediction", id, 1.0, b'{"x":1}')
        writer.flush()
        os.write(acknowledged, "".join(f"{id}\n" for id in ids).encode())


@pytest.mark.parametrize("mode", ["written", "durable"])
def test_killed_at_any_moment_what_was_acknowledged_is_there_once(tmp_path: Path, mode: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    told, rng = bytearray(), random.Random(1)

    def start(name: str) -> Any:
        process = FORK.Process(target=write_for_ever, args=(tmp_path, name, mode, writing))
        process.start()
        return process

    def listen(until: int) -> None:
        while told.count(b"\n") < until:
            with contextlib.suppress(BlockingIOError):
                told.extend(os.read(reading, 65536))

    running = [start(f"p{n}") for n in range(3)]
    for kill in range(12):
        listen(told.count(b"\n") + rng.randrange(60, 600))
        victim = running.pop(rng.randrange(3))
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        running.append(start(f"q{kill}"))
    for process in running:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    with contextlib.suppress(BlockingIOError):
        while more := os.read(reading, 65536):
            told.extend(more)
    os.close(reading)
    os.close(writing)
    records = read_journal(tmp_path)
    assert [r.number for r in records] == list(range(1, len(records) + 1))
    ids = [r.id for r in records]
    assert len(set(ids)) == len(ids)
    whole = bytes(told).rpartition(b"\n")[0].decode().split("\n")
    assert set(whole) <= set(ids)
    assert len(ids) <= len(whole) + 15 * 3  # what was written, and not told before a kill
    assert len(segments(tmp_path)) > 3


def test_two_writers_take_turns_and_a_third_that_does_not_share_is_refused(tmp_path: Path) -> None:
    first, second = Writer(tmp_path, shared=True), Writer(tmp_path, segment_bytes=1, shared=True)
    for number in range(6):
        writer = (first, second)[number % 2]
        writer.append("prediction", str(number), 1.0, b"{}")
        writer.flush()
    with pytest.raises(BusyError, match="is written by process"):
        Writer(tmp_path)
    first.close()
    with pytest.raises(BusyError):
        Writer(tmp_path)
    second.close()
    alone = Writer(tmp_path)
    alone.append("prediction", "6", 1.0, b"{}")
    with pytest.raises(BusyError):
        Writer(tmp_path, shared=True)
    alone.close()
    assert [(r.number, r.id) for r in read_journal(tmp_path)] == [(n + 1, str(n)) for n in range(7)]


def test_a_torn_line_is_cut_and_whole_ones_are_kept(tmp_path: Path) -> None:
    first, second = Writer(tmp_path, shared=True), Writer(tmp_path, shared=True)
    first.append("prediction", "a", 1.0, b"{}")
    first.flush()
    path = max(tmp_path.glob("*.jsonl"))
    line = path.read_bytes().replace(b'"n":1', b'"n":2').replace(b'"id":"a"', b'"id":"b"')
    with path.open("ab") as file:  # as a process leaves it that is killed after a part of its write
        file.write(line + line[:30])
    second.append("prediction", "c", 1.0, b"{}")
    second.flush()
    first.append("prediction", "d", 1.0, b"{}")
    first.flush()
    assert [(r.number, r.id) for r in read_journal(tmp_path)] == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    first.close()
    second.close()
