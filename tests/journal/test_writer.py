"""What was acknowledged is read exactly once and in order: over restarts, torn tails, kill -9 and full disks."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.journal.disks import Disk, append, files_of_at_most, ids_of, read_all

from everloop.errors import BusyError, JournalError
from everloop.journal import Mode, Position, Reader, Writer
from everloop.journal.segments import path_of, segments

MODES: tuple[Mode, ...] = get_args(Mode)
every_mode = pytest.mark.parametrize("mode", MODES)


class Journal(RuleBasedStateMachine):
    """A writer that is closed, killed, torn and refused at random, and a reader that is restarted at random."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="everloop-journal-"))
        self.journal, self.offsets = self.folder / "journal", self.folder / "offsets"
        self.writer: Writer | None = None
        self.queued: list[str] = []
        self.kept: list[str] = []
        self.reader = Reader(self.journal, "reader", self.offsets)
        self.seen: list[str] = []
        self.committed = 0
        self.count = 0

    @precondition(lambda self: self.writer is None)
    @rule(mode=st.sampled_from(MODES), segment_bytes=st.sampled_from([1, 500, 10_000]))
    def open(self, mode: Mode, segment_bytes: int) -> None:
        self.writer = Writer(self.journal, mode, segment_bytes)

    @precondition(lambda self: self.writer)
    @rule(size=st.sampled_from([0, 1, 300, 5000]))
    def append(self, size: int) -> None:
        assert self.writer
        self.count += 1
        self.writer.append("prediction", str(self.count), float(self.count), b'"%b"' % (b"x" * size))
        self.queued.append(str(self.count))

    @precondition(lambda self: self.writer)
    @rule()
    def flush(self) -> None:
        assert self.writer
        self.writer.flush()
        self.kept, self.queued = self.kept + self.queued, []

    @precondition(lambda self: self.writer and self.queued)
    @rule(room=st.integers(0, 3000))
    def flush_to_a_full_disk(self, room: int) -> None:
        assert self.writer
        size = max(p.stat().st_size for p in self.journal.glob("*.jsonl"))
        try:
            with files_of_at_most(size + room):
                self.writer.flush()
        except JournalError:
            if self.writer.mode != "buffered":
                self.queued = []
        else:
            self.kept, self.queued = self.kept + self.queued, []

    @precondition(lambda self: self.writer)
    @rule()
    def close(self) -> None:
        assert self.writer
        self.writer.close()
        self.kept, self.queued, self.writer = self.kept + self.queued, [], None

    @precondition(lambda self: self.writer)
    @rule(torn=st.sampled_from([b"", b"\0" * 9, b'{"n":1,"kind":"prediction"']))
    def kill(self, torn: bytes) -> None:
        assert self.writer
        os.close(self.writer._file)
        os.close(self.writer._lock)
        self.queued, self.writer = [], None
        with path_of(self.journal, segments(self.journal)[-1]).open("ab") as file:
            file.write(torn)

    @rule(limit=st.integers(1, 5))
    def poll(self, limit: int) -> None:
        self.seen += [r.id for r in self.reader.poll(limit)]

    @rule()
    def commit(self) -> None:
        self.reader.commit()
        self.committed = len(self.seen)

    @rule()
    def restart_the_reader(self) -> None:
        self.reader.close()
        self.reader = Reader(self.journal, "reader", self.offsets)
        del self.seen[self.committed :]

    @invariant()
    def what_was_read_is_the_beginning_of_what_was_acknowledged(self) -> None:
        assert self.seen == self.kept[: len(self.seen)]

    def teardown(self) -> None:
        if self.writer:
            self.writer.take()
            self.writer.close()
        while records := self.reader.poll():
            self.seen += [r.id for r in records]
        self.reader.close()
        assert self.seen == self.kept == ids_of(read_all(self.journal))
        shutil.rmtree(self.folder)


TestJournal = pytest.mark.timeout(60)(Journal.TestCase)
TestJournal.settings = settings(max_examples=40, stateful_step_count=30)


@every_mode
def test_a_flush_acknowledges_all_that_was_queued(mode: Mode, tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a" / "journal", mode)
    writer.flush()
    append(writer, "a", "b")
    assert ids_of(read_all(tmp_path / "a" / "journal")) == ["a", "b"]
    append(writer, "c")
    assert ids_of(read_all(tmp_path / "a" / "journal")) == ["a", "b", "c"]
    writer.close()


def test_what_is_queued_is_written_when_it_closes(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append("prediction", "a", 1.0, b"{}")
    assert read_all(tmp_path) == []
    writer.close()
    writer.close()
    assert ids_of(read_all(tmp_path)) == ["a"]
    with pytest.raises(JournalError, match="is closed"):
        writer.append("prediction", "b", 1.0, b"{}")


def test_a_segment_ends_when_it_is_large_enough(tmp_path: Path) -> None:
    writer = Writer(tmp_path, segment_bytes=1000)
    for id in "abcdef":
        append(writer, id, size=600)
    writer.close()
    assert segments(tmp_path) == [1, 2, 3]
    assert ids_of(read_all(tmp_path)) == list("abcdef")


def test_restarts_that_write_nothing_leave_no_segments(tmp_path: Path) -> None:
    for _ in range(5):
        Writer(tmp_path).close()
    assert len(segments(tmp_path)) == 1


def test_numbering_goes_on_behind_a_tail_cut_at_any_byte(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path / "whole")) as writer:
        append(writer, "a", "b")
    content = path_of(tmp_path / "whole", 1).read_bytes()
    for size in range(len(content) + 1):
        folder = tmp_path / str(size)
        folder.mkdir()
        path_of(folder, 1).write_bytes(content[:size])
        with contextlib.closing(Writer(folder)) as writer:
            append(writer, "next")
        assert ids_of(read_all(folder)) == [*"ab"[: content[:size].count(b"\n")], "next"]
        shutil.rmtree(folder)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path)):
        with pytest.raises(BusyError, match=f"is written by process {os.getpid()}: stop it, or use another folder"):
            Writer(tmp_path)
        program = "import sys; from pathlib import Path; from everloop.journal import Writer; Writer(Path(sys.argv[1]))"
        done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
        assert "BusyError" in done.stderr
    Writer(tmp_path).close()


def test_a_journal_that_cannot_be_opened_is_not_held(tmp_path: Path) -> None:
    path_of(tmp_path, 1).write_bytes(b"hello\n")
    for _ in range(2):
        with pytest.raises(JournalError, match="a line cannot be read"):
            Writer(tmp_path)
    path_of(tmp_path, 1).unlink()
    Writer(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"the journal .*/file cannot be opened: File exists"):
        Writer(tmp_path / "file")


@every_mode
def test_a_failed_write_leaves_nothing(mode: Mode, tmp_path: Path) -> None:
    writer = Writer(tmp_path, mode)
    append(writer, "a")
    size = path_of(tmp_path, 1).stat().st_size
    for room in (0, 1, 250, 500):
        with files_of_at_most(size + room), pytest.raises(JournalError) as caught:
            append(writer, "b", "c", "d")
        expected = f"the journal {tmp_path} cannot be written: File too large; free space, then send the request again"
        assert str(caught.value) == expected
        assert path_of(tmp_path, 1).stat().st_size == size
        writer.take()
    append(writer, "e")
    append(writer, "f")
    writer.close()
    assert ids_of(read_all(tmp_path)) == ["a", "e", "f"]


@every_mode
def test_a_reader_that_saw_a_failed_write_misses_nothing_after_it(mode: Mode, tmp_path: Path) -> None:
    writer = Writer(tmp_path, mode)
    append(writer, "a")
    size = path_of(tmp_path, 1).stat().st_size
    with files_of_at_most(size + 700), pytest.raises(JournalError):
        append(writer, "b", "c", "d", "e")
    writer.take()
    with contextlib.closing(Reader(tmp_path)) as reader:
        reader.seek(Position(1, size + size * 2))  # behind b and c, polled in the moment before they were cut
        append(writer, "f", "g", "h", "i")
        assert [r.id for r in reader.poll()] == ["f", "g", "h", "i"]
    writer.close()


def test_what_was_acknowledged_in_buffered_mode_stays_queued(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "buffered")
    with files_of_at_most(10):
        for id in "ab":
            with pytest.raises(JournalError):
                append(writer, id)
    append(writer, "c")
    assert ids_of(read_all(tmp_path)) == ["a", "b", "c"]
    with files_of_at_most(10):
        writer.append("prediction", "d", 1.0, b"{}")
        with pytest.raises(JournalError):
            writer.close()
    Writer(tmp_path).close()


def test_a_segment_for_which_no_file_is_left_is_tried_again(tmp_path: Path) -> None:
    writer = Writer(tmp_path, segment_bytes=1)
    append(writer, "a")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest_free := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limit[1]))
    try:
        with pytest.raises(JournalError, match="cannot be written: Too many open files"):
            append(writer, "b")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    append(writer, "c")
    writer.close()
    assert ids_of(read_all(tmp_path)) == ["a", "c"]


def test_a_segment_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    writer = Writer(tmp_path, segment_bytes=1)
    append(writer, "a")
    path_of(tmp_path, 2).mkdir()
    for _ in range(2):
        with pytest.raises(JournalError, match="cannot be written: Is a directory"):
            append(writer, "b")
    path_of(tmp_path, 2).rmdir()
    append(writer, "c")
    writer.close()
    assert ids_of(read_all(tmp_path)) == ["a", "c"]


@every_mode
def test_a_full_disk(mode: Mode, disk: Disk) -> None:
    folder = disk.folder / "journal"
    writer = Writer(folder, mode)
    append(writer, "a")
    reader = Reader(folder)
    for episode in range(3):
        disk.fill(leave=4096)
        for _ in range(20):
            with pytest.raises(JournalError, match="cannot be written: No space left on device; free space"):
                append(writer, "lost", size=20_000)
            writer.take()
        disk.free()
        append(writer, str(episode), size=20_000)
    writer.close()
    assert ids_of(read_all(folder)) == ["a", "0", "1", "2"]
    assert [r.id for r in reader.poll()] == ["a", "0", "1", "2"]
    reader.close()
    assert len(segments(folder)) <= 4


def test_a_journal_opened_on_a_full_disk_goes_on_once_there_is_space(disk: Disk) -> None:
    folder = disk.folder / "journal"
    with contextlib.closing(Writer(folder)) as writer:
        append(writer, "a")
    disk.fill()
    with contextlib.closing(Writer(folder)) as writer:
        with pytest.raises(JournalError, match="cannot be written: No space left on device"):
            append(writer, "lost")
        disk.free()
        append(writer, "b")
    disk.fill()
    with pytest.raises(JournalError, match="cannot be opened: No space left on device"):
        Writer(disk.folder / "another")
    disk.free()
    assert ids_of(read_all(folder)) == ["a", "b"]


PRODUCERS = """
import asyncio, os, sys
from pathlib import Path
from everloop.journal import TickWriter, Writer

async def produce(journal, name):
    number = 0
    while True:
        number += 1
        await journal.append("prediction", f"{name}-{number}", 1.0, b'"%b"' % (b"x" * (2 + 200 * (number % 7))))
        await asyncio.sleep(0)  # as others run between the requests of one, also where an append does not wait
        os.write(1, f"{name}-{number}\\n".encode())

async def main():
    writer = Writer(Path(sys.argv[1]), sys.argv[2], segment_bytes=20_000)
    journal = TickWriter(writer)
    await asyncio.gather(*(produce(journal, f"{sys.argv[3]}-{n}") for n in range(5)))

asyncio.run(main())
"""


def killed(folder: Path, mode: Mode, round: int, acknowledgements: int) -> Iterator[str]:
    """Yield what a process acknowledged before it was killed in the middle of its work."""
    arguments = [sys.executable, "-c", PRODUCERS, str(folder), mode, str(round)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(acknowledgements):
            yield process.stdout.readline().strip()
        process.kill()
        yield from (line.strip() for line in process.stdout if line.endswith("\n"))


@pytest.mark.parametrize("mode", ["written", "durable"])
def test_kill_9_loses_nothing_acknowledged(mode: Mode, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for round, acknowledgements in enumerate((1, 40, 333, 700)):
        acknowledged += killed(tmp_path, mode, round, acknowledgements)
    with contextlib.closing(Writer(tmp_path)) as writer:
        append(writer, "last")
    found = ids_of(read_all(tmp_path))
    assert len(set(found)) == len(found)
    assert found[-1] == "last"
    assert set(acknowledged) <= set(found)
    for producer in {id.rpartition("-")[0] for id in acknowledged}:
        mine = [int(id.rpartition("-")[2]) for id in found if id.startswith(f"{producer}-")]
        assert mine == list(range(1, len(mine) + 1))
