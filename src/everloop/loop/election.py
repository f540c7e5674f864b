"""One controller of several on one PostgreSQL: who holds a lock of the database, which a dead session gives back."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

import sqlalchemy as sa

from everloop.errors import BusyError, StoreError
from everloop.store import ELECTED, Connection, Store

__all__ = ["StoppedError", "elected", "somebody_elected"]

_log = logging.getLogger("everloop.loop")
_TAKE = sa.text("SELECT pg_try_advisory_lock(:kind, hashtext(current_schema()))").bindparams(kind=ELECTED)
_GIVE = sa.text("SELECT pg_advisory_unlock(:kind, hashtext(current_schema()))").bindparams(kind=ELECTED)
_HELD = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = :kind "
    "AND objid::int8 = (hashtext(current_schema())::int8 & 4294967295)"
)
_SOMEBODY = sa.text(_HELD).bindparams(kind=ELECTED)
_OURS = sa.text(f"{_HELD} AND pid = pg_backend_pid()").bindparams(kind=ELECTED)


class StoppedError(BaseException):
    """It was told to stop while it waited to be elected."""


@contextlib.contextmanager
def elected(store: Store, stop: threading.Event | None = None) -> Iterator[Callable[[], None]]:
    """Be the one controller of a shared store, and give what raises `StoreError` once that may not hold any more.

    Waits until the one before it is gone, or `stop` (StoppedError); without `stop` raises `BusyError` at once. A store
    that one machine alone uses elects nobody: there the lease's file does.
    """
    if not store.elects:
        yield lambda: None
        return
    with store.session() as session:
        _wait(session, stop)

        def check() -> None:
            try:
                held = session.execute(_OURS).scalar()
            except sa.exc.SQLAlchemyError as error:
                raise StoreError("the session that elected this controller is gone: another one may run") from error
            if not held:
                raise StoreError("another controller may have been elected: this one ends")

        try:
            yield check
        finally:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                session.execute(_GIVE)


def somebody_elected(store: Store) -> bool:
    """Tell whether a controller of a shared store is elected now, on whatever machine."""
    if not store.elects:
        return False
    with store.session() as session:
        return bool(session.execute(_SOMEBODY).scalar())


def _wait(session: Connection, stop: threading.Event | None) -> None:
    told = False
    while not session.execute(_TAKE).scalar():
        if stop is None:
            raise BusyError("another controller is elected on this store: it carries out what is asked")
        if not told:
            _log.info("another controller is elected: this one waits, and takes over when that one is gone")
            told = True
        if stop.wait(0.5):
            raise StoppedError
