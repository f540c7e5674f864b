"""The asyncio face of the writer: all appends of one turn of the event loop share one write."""

from __future__ import annotations

import asyncio

from everloop.errors import JournalError
from everloop.journal.writer import Writer

__all__ = ["TickWriter"]

BUFFER_SECONDS = 0.02


class TickWriter:
    """Acknowledges an append once its line is as safe as the writer's mode promises.

    In `buffered` mode that is at once. When such records cannot be written later they are kept and tried again
    every 20 ms; until that succeeds every append tries too, and is refused with the reason when it fails.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: list[asyncio.Future[None]] = []
        self._scheduled = False
        self._syncing: asyncio.Task[None] | None = None
        self._kept: JournalError | None = None
        """Why records that were acknowledged in `buffered` mode are not written yet."""

    async def append(self, kind: str, id: str, time: float, payload: bytes) -> None:
        """Return once the record is safe; raises `JournalError` when it could not be written."""
        loop = asyncio.get_running_loop()
        if self._kept:
            self._write()
        if self._kept:
            raise JournalError(str(self._kept)) from self._kept
        self._writer.append(kind, id, time, payload)
        if self._writer.mode == "buffered":
            self._write_later()
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
        """Write what is queued, then close the writer; raises `JournalError` when acknowledged records are lost."""
        while self._syncing and not self._syncing.done():
            await asyncio.wait([self._syncing])
        self._write()
        self._kept = None
        self._writer.close()

    def _flush(self) -> None:
        self._scheduled = False
        self._write()
        if self._kept:
            self._write_later()

    def _write_later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(BUFFER_SECONDS, self._flush)

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        error = None
        try:
            self._writer.flush()
        except Exception as caught:
            error = _as_journal_error(caught)
        _settle(waiting, error)
        self._kept = error if self._writer.mode == "buffered" else None

    async def _sync(self, before: asyncio.Task[None] | None) -> None:
        """Sync in a thread, one write at a time and in order: what arrives meanwhile shares the next one."""
        if before:
            await asyncio.wait([before])
        await asyncio.sleep(0)
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        try:
            await asyncio.to_thread(self._writer.write, self._writer.take())
        except BaseException as error:
            _settle(waiting, _as_journal_error(error))
            if not isinstance(error, Exception):
                raise
        else:
            _settle(waiting, None)


def _as_journal_error(error: BaseException) -> JournalError:
    if isinstance(error, JournalError):
        return error
    translated = JournalError(f"the journal was not written: {str(error) or type(error).__name__}")
    translated.__cause__ = error
    return translated


def _settle(waiting: list[asyncio.Future[None]], error: JournalError | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)
