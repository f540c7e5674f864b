"""Writer and reader together: what was acknowledged is read once, whole and in order, whatever happened between."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from everloop.errors import BusyError, JournalError
from everloop.journal import Position, Reader, Record, Writer, end
from everloop.journal.segments import path_of, segments


def read_all(folder: Path) -> list[Record]:
    with contextlib.closing(Reader(folder)) as reader:
        found: list[Record] = []
        while records := reader.poll(7):
            found += records
        return found


def ids(folder: Path) -> list[str]:
    return [r.id for r in read_all(folder)]


class JournalMachine(RuleBasedStateMachine):
    """A writer that flushes, closes, crashes with a torn tail and rotates; a reader that keeps up and starts again."""

    @initialize(limit=st.integers(200, 2000))
    def start(self, limit: int) -> None:
        import tempfile

        self.folder = Path(tempfile.mkdtemp())
        self.limit, self.count = limit, 0
        self.safe: list[str] = []
        self.queued: list[str] = []
        self.seen: list[str] = []
        self.writer = Writer(self.folder, segment_bytes=limit)
        self.reader = Reader(self.folder, "reader", self.folder / "offsets")

    @rule(size=st.integers(0, 300))
    def append(self, size: int) -> None:
        self.count += 1
        self.queued.append(f"id-{self.count}")
        self.writer.append("prediction", self.queued[-1], float(self.count), b'"' + b"x" * size + b'"')

    @rule()
    def flush(self) -> None:
        self.writer.flush()
        self.safe, self.queued = self.safe + self.queued, []

    @rule(torn=st.binary(min_size=0, max_size=40).filter(lambda b: b"\n" not in b))
    def crash(self, torn: bytes) -> None:
        """What was queued is gone, and half a line may stand at the end."""
        os.close(self.writer._file)
        os.close(self.writer._lock)
        if torn:
            with path_of(self.folder, segments(self.folder)[-1]).open("ab") as file:
                file.write(torn)
        self.queued = []
        self.writer = Writer(self.folder, segment_bytes=self.limit)

    @rule()
    def close(self) -> None:
        self.writer.close()
        self.safe, self.queued = self.safe + self.queued, []
        self.writer = Writer(self.folder, segment_bytes=self.limit)

    @rule(limit=st.integers(1, 20))
    def poll(self, limit: int) -> None:
        self.seen += [r.id for r in self.reader.poll(limit)]
        self.reader.commit()

    @rule()
    def reader_restarts(self) -> None:
        self.reader.close()
        self.reader = Reader(self.folder, "reader", self.folder / "offsets")

    @invariant()
    def acknowledged_records_are_there_in_order(self) -> None:
        if not hasattr(self, "folder"):
            return
        records = read_all(self.folder)
        assert [r.id for r in records] == self.safe
        assert [r.number for r in records] == list(range(1, len(records) + 1))
        assert all(r.verify() for r in records)
        assert self.seen == self.safe[: len(self.seen)]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.writer.close()
            self.reader.close()


JournalMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestJournal = JournalMachine.TestCase


def test_a_tail_cut_at_any_byte_loses_only_the_torn_record(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path / "whole")) as writer:
        for number in range(3):
            writer.append("prediction", f"id-{number}", 1.0, b'{"a":1}')
            writer.flush()
    content = path_of(tmp_path / "whole", 1).read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content) + 1):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        path_of(folder, 1).write_bytes(content[:cut])
        whole = sum(e <= cut for e in ends)
        assert len(ids(folder)) == whole
        assert end(folder).offset == ([0, *ends])[whole]
        with contextlib.closing(Writer(folder)) as writer:
            writer.append("prediction", "new", 1.0, b"1")
        assert [r.number for r in read_all(folder)] == list(range(1, whole + 2))


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path)):
        with pytest.raises(BusyError, match=rf"is written by process {os.getpid()}: stop it"):
            Writer(tmp_path)
    Writer(tmp_path).close()


def test_a_full_disk_takes_nothing_half_and_goes_on_with_space(tmp_path: Path) -> None:
    code = f"""
import resource, sys
from pathlib import Path
from everloop.errors import JournalError
from everloop.journal import Writer
writer = Writer(Path({str(tmp_path / "journal")!r}))
writer.append("prediction", "first", 1.0, b'"' + b"x" * 500 + b'"'); writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for name in ("second", "third"):
    writer.append("prediction", name, 1.0, b'"' + b"x" * 900 + b'"')
    try:
        writer.flush()
    except JournalError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append("prediction", "fourth", 1.0, b"4"); writer.close()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert len(told.splitlines()) == 2
    assert all("cannot be written" in line and "free space" in line for line in told.splitlines())
    records = read_all(tmp_path / "journal")
    assert [(r.id, r.number) for r in records] == [("first", 1), ("fourth", 2)]


def test_a_segment_that_cannot_be_begun_refuses_and_goes_on(tmp_path: Path) -> None:
    writer = Writer(tmp_path, segment_bytes=10)
    writer.append("prediction", "first", 1.0, b"1")
    writer.flush()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, limit[1]))
    try:
        writer.append("prediction", "second", 1.0, b"2")
        with pytest.raises(JournalError, match="Too many open files"):
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    writer.append("prediction", "third", 1.0, b"3")
    writer.close()
    assert ids(tmp_path) == ["first", "third"]
    assert len(segments(tmp_path)) == 2


@pytest.mark.parametrize("mode", ["written", "durable"])
def test_kill_9_keeps_every_acknowledged_record(tmp_path: Path, mode: str) -> None:
    code = f"""
from pathlib import Path
from everloop.journal import Writer
writer = Writer(Path({str(tmp_path)!r}), {mode!r}, segment_bytes=5000)
for number in range(100_000):
    for part in "ab":
        writer.append("prediction", f"{{number}}{{part}}", float(number), b'"' + b"x" * (number % 97) + b'"')
    writer.flush()
    print(number, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = -1
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged >= 150:
            process.kill()
    process.wait()
    process.stdout.close()
    found = ids(tmp_path)
    expected = [f"{n}{part}" for n in range(acknowledged + 1) for part in "ab"]
    assert found[: len(expected)] == expected
    assert len(found) == len(set(found))
    with contextlib.closing(Writer(tmp_path)) as writer:
        writer.append("prediction", "after", 1.0, b"1")
    records = read_all(tmp_path)
    assert records[-1].id == "after"
    assert [r.number for r in records] == list(range(1, len(records) + 1))


def test_a_reader_needs_a_name_to_commit(tmp_path: Path) -> None:
    with contextlib.closing(Reader(tmp_path)) as reader:
        assert reader.poll() == []
        with pytest.raises(JournalError, match="has no name"):
            reader.commit()


def test_a_reader_goes_on_behind_a_segment_that_was_removed(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path, segment_bytes=150)) as writer:
        for number in range(6):
            writer.append("prediction", str(number), 1.0, b'"' + b"x" * 100 + b'"')
            writer.flush()
    first, *_ = segments(tmp_path)
    kept = ids(tmp_path)
    gone = path_of(tmp_path, first).read_bytes().count(b"\n")
    path_of(tmp_path, first).unlink()
    assert ids(tmp_path) == kept[gone:]


def test_seek_goes_to_a_position(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path)) as writer:
        for number in range(4):
            writer.append("prediction", str(number), 1.0, b"1")
    with contextlib.closing(Reader(tmp_path)) as reader:
        reader.poll(2)
        place = reader.position
        reader.poll()
        assert reader.position == end(tmp_path)
        reader.seek(place)
        assert [r.id for r in reader.poll()] == ["2", "3"]
        reader.seek(Position())
        assert len(reader.poll()) == 4


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    with contextlib.closing(Writer(tmp_path)) as writer:
        writer.append("prediction", "a", 1.0, b"1")
    path = path_of(tmp_path, 1)
    path.write_bytes(path.read_bytes().replace(b'"kind"', b'"kimd"'))
    with pytest.raises(JournalError, match=r"00000001\.jsonl: a line cannot be read"):
        ids(tmp_path)
    with pytest.raises(JournalError):
        Writer(tmp_path)
    path.unlink()
    Writer(tmp_path).close()  # the refused writer left no lock


def test_a_journal_that_cannot_lie_there_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be opened"):
        Writer(tmp_path / "file" / "journal")
