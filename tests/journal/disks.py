"""Journals to read back, and disks that are full for real."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from everloop.journal import Reader, Record, Writer


def append(writer: Writer, *ids: str, size: int = 0) -> None:
    """Append and flush one record an id, each with about `size` more bytes of payload."""
    for id in ids:
        writer.append("prediction", id, 1.0, b'{"x":"%b"}' % (b"x" * size))
    writer.flush()


def read_all(folder: Path) -> list[Record]:
    with contextlib.closing(Reader(folder)) as reader:
        found: list[Record] = []
        while records := reader.poll(7):
            found += records
    return found


def ids_of(records: Sequence[Record]) -> list[str]:
    """Return the ids of a journal's first records; their numbers have no gap and no double."""
    assert [r.number for r in records] == list(range(1, len(records) + 1))
    assert all(r.verify() for r in records)
    return [r.id for r in records]


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as a disk quota does: what fits is taken, no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Disk:
    """A small disk of its own, which can be filled to the last byte and freed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._filler = folder, folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Fill it but for `leave` bytes, rounded up to pages of 4 KiB."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        os.truncate(self._filler, self._filler.stat().st_size - leave)

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk of 512 KiB that is gone after the test."""
    folder = Path(tempfile.mkdtemp(prefix="everloop-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("no disk can be mounted here")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
