"""The plan file: one small JSON document, written atomically by the controller, read by every worker."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from pathlib import Path

import msgspec

from everloop.errors import NotFoundError, SystemError_, UsageError
from everloop.types import Plan

__all__ = ["PlanFile", "read_plan", "write_plan"]

_decoder = msgspec.json.Decoder(Plan)


def read_plan(path: Path) -> Plan:
    """Return the plan that a file holds; raises `NotFoundError` without a file, `UsageError` for a wrong one."""
    try:
        plan = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError("plan file", str(path)) from None
    except OSError as error:
        raise SystemError_(f"the plan {path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise UsageError(f"the plan {path} cannot be understood: {error}; let the controller write it anew") from error
    _check(plan, str(path))
    return plan


def write_plan(path: Path, plan: Plan) -> None:
    """Replace the plan file: a reader sees the old plan or the new one, also after a power cut."""
    _check(plan, "to be written")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise SystemError_(f"the plan {path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise SystemError_(f"the plan {path} cannot be written: {error.strerror}") from error


class PlanFile:
    """Notices that a plan file was replaced, for the price of one `stat`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None

    @property
    def unloaded(self) -> Path:
        """The mark beside the plan that says: answer no request."""
        return self.path.with_name(f"{self.path.name}.unloaded")

    def changed(self) -> bool:
        """Return whether the file differs from what the last call saw; a file that is gone is no change."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        now = (status.st_mtime_ns, status.st_ino, status.st_size)
        if now == self._seen:
            return False
        self._seen = now
        return True


def _check(plan: Plan, where: str) -> None:
    roles = [v.role for v in plan.variants]
    weights = [v.weight for v in plan.variants]
    if roles.count("champion") != 1:
        raise UsageError(f"the plan {where} names {roles.count('champion')} champions: exactly one must answer")
    if roles.count("candidate") > 1:
        raise UsageError(f"the plan {where} names {roles.count('candidate')} candidates: at most one takes part")
    if len({v.version for v in plan.variants}) != len(plan.variants):
        raise UsageError(f"the plan {where} names one version twice: champion and candidate must differ")
    if not all(math.isfinite(w) and w >= 0 for w in weights) or sum(weights) <= 0:
        raise UsageError(f"the plan {where} has weights {weights}: none may be negative, and one must be positive")
    kind, _, name = (plan.sticky_by or "header:x").partition(":")
    if kind not in ("header", "column") or not name:
        raise UsageError(f"the plan {where} is sticky by {plan.sticky_by!r}: write 'header:NAME' or 'column:NAME'")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
