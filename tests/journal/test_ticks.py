from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
from tests.journal.test_journal import ids

from everloop.errors import JournalError
from everloop.journal import Mode, TickWriter, Writer


class FailingWriter(Writer):
    """A writer on a disk that is full, or broken in a way that nobody expected, until it is mended."""

    failure: Exception | None = None
    writes = 0

    def write(self, entries: list[tuple[str, str, float, bytes]]) -> None:
        self.writes += 1
        if self.failure:
            raise self.failure
        super().write(entries)


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["written", "durable", "buffered"])
async def test_appends_of_one_turn_share_a_write(tmp_path: Path, mode: Mode) -> None:
    writer = FailingWriter(tmp_path, mode)
    ticks = TickWriter(writer)
    await asyncio.gather(*(ticks.append("prediction", str(n), 1.0, b"1") for n in range(50)))
    if mode != "buffered":
        assert ids(tmp_path) == [str(n) for n in range(50)]
    await ticks.close()
    assert ids(tmp_path) == [str(n) for n in range(50)]
    assert writer.writes <= 3


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["written", "durable"])
@pytest.mark.parametrize("failure", [JournalError("no space"), ZeroDivisionError("a fault of ours")])
async def test_a_failed_write_answers_everyone_who_waits(tmp_path: Path, mode: Mode, failure: Exception) -> None:
    writer = FailingWriter(tmp_path, mode)
    ticks = TickWriter(writer)
    writer.failure = failure
    appends = [ticks.append("prediction", str(n), 1.0, b"1") for n in range(5)]
    told = await asyncio.wait_for(asyncio.gather(*appends, return_exceptions=True), 10)
    assert told == [failure] * 5
    writer.failure = None
    await ticks.append("prediction", "after", 1.0, b"1")
    await ticks.close()
    assert ids(tmp_path) == ["after"]


@pytest.mark.asyncio
async def test_a_buffer_that_cannot_be_written_is_kept_and_nothing_new_is_taken(tmp_path: Path) -> None:
    writer = FailingWriter(tmp_path, "buffered")
    ticks = TickWriter(writer)
    writer.failure = JournalError("no space")
    await ticks.append("prediction", "acknowledged", 1.0, b"1")
    with pytest.raises(JournalError, match="no space"):
        await append_for_ever(ticks)
    writer.failure = None
    await ticks.close()
    found = ids(tmp_path)
    assert found[0] == "acknowledged"
    assert set(found[1:]) <= {"acknowledged too"}


async def append_for_ever(ticks: TickWriter) -> None:
    while True:
        await ticks.append("prediction", "acknowledged too", 1.0, b"1")
        await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_durable_syncs_before_it_acknowledges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def counting(file: int) -> None:
        synced.append(file)
        real(file)

    monkeypatch.setattr(os, "fdatasync", counting)
    for mode, expected in (("written", 0), ("durable", 1)):
        synced.clear()
        ticks = TickWriter(Writer(tmp_path / mode, mode))  # type: ignore[arg-type]
        await ticks.append("prediction", "a", 1.0, b"1")
        assert len(synced) == expected
        with contextlib.suppress(JournalError):
            await ticks.close()
