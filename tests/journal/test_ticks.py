"""Every append is answered: when its record is safe, or with the reason why it is not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import get_args

import pytest
from tests.journal.disks import Disk, append, files_of_at_most, ids_of, read_all

from everloop.errors import JournalError
from everloop.journal import Mode, Reader, TickWriter, Writer
from everloop.journal.segments import path_of

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(20)]

MODES: tuple[Mode, ...] = get_args(Mode)
ANSWERED: tuple[Mode, ...] = ("written", "durable")


async def send(journal: TickWriter, *ids: str, size: int = 0) -> list[BaseException | None]:
    payload = b'"%b"' % (b"x" * size)
    sent = (journal.append("prediction", id, 1.0, payload) for id in ids)
    return await asyncio.gather(*sent, return_exceptions=True)


@pytest.mark.parametrize("mode", MODES)
async def test_all_appends_are_written_in_order(mode: Mode, tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, mode, segment_bytes=2000))
    ids = [str(n) for n in range(50)]
    for start in range(0, 50, 10):
        assert await send(journal, *ids[start : start + 10]) == [None] * 10
    await journal.close()
    assert ids_of(read_all(tmp_path)) == ids


@pytest.mark.parametrize("mode", ANSWERED)
async def test_a_record_is_there_when_its_append_returns(mode: Mode, tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, mode))
    reader = Reader(tmp_path)

    async def check(id: str) -> None:
        await journal.append("prediction", id, 1.0, b"{}")
        found.update(record.id for record in reader.poll())
        assert id in found

    found: set[str] = set()
    await asyncio.gather(*(check(str(n)) for n in range(100)))
    reader.close()
    await journal.close()


async def test_a_buffered_record_is_written_soon(tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, "buffered"))
    await journal.append("prediction", "a", 1.0, b"{}")
    async with asyncio.timeout(5):
        while not read_all(tmp_path):
            await asyncio.sleep(0)
    await journal.close()


@pytest.mark.parametrize("mode", ANSWERED)
async def test_a_failed_write_answers_everybody(mode: Mode, tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, mode))
    with files_of_at_most(100):
        errors = await send(journal, *"abc")
    assert [type(e) for e in errors] == [JournalError] * 3
    assert {str(e).partition(": ")[2] for e in errors} == {"File too large; free space, then send the request again"}
    assert await send(journal, *"de") == [None, None]
    await journal.close()
    assert ids_of(read_all(tmp_path)) == ["d", "e"]


@pytest.mark.parametrize("mode", ANSWERED)
async def test_a_segment_that_cannot_be_made_answers_everybody(mode: Mode, tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, mode, segment_bytes=1))
    assert await send(journal, "a") == [None]
    path_of(tmp_path, 2).mkdir()
    errors = await send(journal, *"bc")
    assert [type(e) for e in errors] == [JournalError] * 2
    path_of(tmp_path, 2).rmdir()
    assert await send(journal, "d") == [None]
    await journal.close()
    assert ids_of(read_all(tmp_path)) == ["a", "d"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_record_that_cannot_be_journalled_harms_no_other(mode: Mode, tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, mode))
    good, bad = journal.append("prediction", "a", 1.0, b"{}"), journal.append("prediction", "b", 1.0, b"{")
    answers = await asyncio.gather(good, bad, return_exceptions=True)
    assert [type(a) for a in answers] == [type(None), JournalError]
    await journal.close()
    assert ids_of(read_all(tmp_path)) == ["a"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_full_disk(mode: Mode, disk: Disk) -> None:
    journal = TickWriter(Writer(disk.folder, mode))
    assert await send(journal, "a") == [None]
    await journal.append("prediction", "b", 1.0, b"{}")
    disk.fill(leave=4096)
    if mode == "buffered":
        assert await send(journal, "c", size=9000) == [None]
        await refused(journal)
    else:
        assert [type(e) for e in await send(journal, *"xyz", size=9000)] == [JournalError] * 3
    disk.free()
    assert await send(journal, *"de", size=9000) == [None, None]
    await journal.close()
    assert ids_of(read_all(disk.folder)) == [*("abc" if mode == "buffered" else "ab"), "d", "e"]


async def refused(journal: TickWriter) -> None:
    """Append until it is refused: what was acknowledged before is kept."""
    async with asyncio.timeout(5):
        while not journal._kept:
            await asyncio.sleep(0)
    with pytest.raises(JournalError, match="cannot be written"):
        await journal.append("prediction", "refused", 1.0, b"{}")


async def test_buffered_records_are_tried_again_without_further_appends(tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, "buffered"))
    with files_of_at_most(10):
        assert await send(journal, *"ab") == [None, None]
        await refused(journal)
    async with asyncio.timeout(5):
        while journal._kept:
            await asyncio.sleep(0)
    assert ids_of(read_all(tmp_path)) == ["a", "b"]
    await journal.close()


async def test_buffered_records_that_are_lost_at_the_end_are_reported(tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, "buffered"))
    with files_of_at_most(10):
        assert await send(journal, "a") == [None]
        with pytest.raises(JournalError, match="cannot be written: File too large"):
            await journal.close()
    assert read_all(tmp_path) == []
    with pytest.raises(JournalError, match="is closed"):
        await journal.append("prediction", "b", 1.0, b"{}")


@pytest.mark.parametrize("mode", ANSWERED)
async def test_closing_answers_those_who_wait(mode: Mode, tmp_path: Path) -> None:
    for room, expected in ((10_000, None), (100, JournalError)):
        journal = TickWriter(Writer(tmp_path, mode))
        with files_of_at_most(room):
            waiting = [asyncio.create_task(journal.append("prediction", id, 1.0, b"{}")) for id in "ab"]
            await asyncio.sleep(0)
            await journal.close()
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(a) for a in answers] == [expected or type(None)] * 2
    assert ids_of(read_all(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("mode", ANSWERED)
async def test_a_caller_that_went_away_stops_nobody(mode: Mode, tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, mode))
    gone, stays = (asyncio.create_task(journal.append("prediction", id, 1.0, b"{}")) for id in "ab")
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert gone.cancelled()
    await journal.close()
    assert ids_of(read_all(tmp_path)) == ["a", "b"]


async def test_a_sync_that_was_cancelled_answers_and_the_next_goes_on(tmp_path: Path) -> None:
    journal = TickWriter(Writer(tmp_path, "durable"))
    waiting = asyncio.create_task(journal.append("prediction", "a", 1.0, b"{}"))
    while not (journal._syncing and not journal._waiting):
        await asyncio.sleep(0)
    journal._syncing.cancel()
    with pytest.raises(JournalError, match="the journal was not written: CancelledError"):
        await waiting
    assert await send(journal, "b") == [None]
    await journal.close()


class Counting(Writer):
    """A writer that counts its writes, and fails as nobody expected where it is told to."""

    fault: Exception | None = None
    writes = 0

    def write(self, entries: list[bytes]) -> None:
        self.writes += bool(entries)
        if self.fault:
            raise self.fault
        super().write(entries)


@pytest.mark.parametrize("mode", MODES)
async def test_appends_of_one_turn_share_a_write(mode: Mode, tmp_path: Path) -> None:
    writer = Counting(tmp_path, mode)
    journal = TickWriter(writer)
    assert await send(journal, *(str(n) for n in range(50))) == [None] * 50
    await journal.close()
    assert writer.writes == 1


@pytest.mark.parametrize("mode", ANSWERED)
async def test_a_fault_of_ours_answers_everybody_too(mode: Mode, tmp_path: Path) -> None:
    writer = Counting(tmp_path, mode)
    journal = TickWriter(writer)
    writer.fault = ZeroDivisionError("a fault of ours")
    errors = await send(journal, *"abc")
    assert [str(e) for e in errors] == ["the journal was not written: a fault of ours"] * 3
    writer.fault = None
    assert await send(journal, "d") == [None]
    await journal.close()
    assert ids_of(read_all(tmp_path)) == ["d"]


async def test_only_durable_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fdatasync = os.fdatasync

    def counting(file: int) -> None:
        synced.append(file)
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", counting)
    for mode, expected in (("written", 0), ("durable", 1)):
        writer = Writer(tmp_path / mode, mode)  # type: ignore[arg-type]
        synced.clear()
        journal = TickWriter(writer)
        assert await send(journal, "a") == [None]
        assert len(synced) == expected
        await journal.close()


async def test_a_plain_append_beside_it_is_kept(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    journal = TickWriter(writer)
    append(writer, "a")
    assert await send(journal, "b") == [None]
    await journal.close()
    assert ids_of(read_all(tmp_path)) == ["a", "b"]
