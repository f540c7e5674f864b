"""Readers of the outbox that bring other systems up to date, at their own pace: `mlflow`, `tensorboard`."""

from everloop.shippers.outbox import Entry, Outbox, RefusedError, Target, UnreachableError, drain
from everloop.shippers.shipper import Shipper

__all__ = ["Entry", "Outbox", "RefusedError", "Shipper", "Target", "UnreachableError", "drain"]
