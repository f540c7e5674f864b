"""The asyncio face of the writer: all appends of one turn of the event loop share one write."""

from __future__ import annotations

import asyncio

from everloop.errors import JournalError
from everloop.journal.writer import Entry, Writer

__all__ = ["TickWriter"]

BUFFER_SECONDS, RETRY_SECONDS = 0.02, 0.5


class TickWriter:
    """Acknowledges an append once its line is as safe as the writer's mode promises."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: list[asyncio.Future[None]] = []
        self._scheduled = False
        self._syncing: asyncio.Task[None] | None = None
        self._kept: list[Entry] = []
        self._failed: JournalError | None = None

    async def append(self, kind: str, id: str, time: float, payload: bytes) -> None:
        """Return once the record is safe; raises `JournalError` when it could not be written."""
        loop = asyncio.get_running_loop()
        if self._failed:
            raise self._failed
        self._writer.append(kind, id, time, payload)
        if self._writer.mode == "buffered":
            if not self._scheduled:
                self._scheduled = True
                loop.call_later(BUFFER_SECONDS, self._flush_buffer)
            return
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append(done)
        if not self._scheduled:
            self._scheduled = True
            if self._writer.mode == "durable":
                self._syncing = loop.create_task(self._sync(self._syncing))
            else:
                loop.call_soon(self._flush)
        await done

    async def close(self) -> None:
        """Write what is queued, then close the writer."""
        if self._syncing:
            await self._syncing
        if self._kept:
            self._flush_buffer()
        self._writer.close()

    def _flush_buffer(self) -> None:
        """Write what was acknowledged already; while that fails it is kept, tried again, and nothing new is taken."""
        self._scheduled = False
        self._kept += self._writer.take()
        try:
            self._writer.write(self._kept)
        except JournalError as error:
            self._failed, self._scheduled = error, True
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._flush_buffer)
        else:
            self._kept, self._failed = [], None

    def _flush(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        try:
            self._writer.flush()
        except Exception as error:
            _settle(waiting, error)
        else:
            _settle(waiting, None)

    async def _sync(self, before: asyncio.Task[None] | None) -> None:
        """Sync in a thread, one write at a time and in order: what arrives meanwhile shares the next one."""
        if before:
            await before
        await asyncio.sleep(0)
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        try:
            await asyncio.to_thread(self._writer.write, self._writer.take())
        except Exception as error:
            _settle(waiting, error)
        else:
            _settle(waiting, None)


def _settle(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
    """Answer all that wait: whatever went wrong, nobody waits for ever."""
    for done in waiting:
        if done.done():
            continue
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)
