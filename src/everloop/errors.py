"""Every error that Everloop raises on purpose.

EverloopError                    one sentence: what, where, what to do next
├── UsageError                   the caller asked for something impossible       exit 2, HTTP 400
│   ├── SettingsError            everloop.toml is wrong
│   ├── RequestError             a request is malformed (carries its HTTP status)
│   └── NotFoundError            no such version, run, model, ... (close match)  HTTP 404
├── CheckError                   the model or the data failed a check            exit 1
│   ├── DataError                rows that break the schema
│   └── ParityError              the exported graph disagrees with the estimator
└── SystemError_                 the machine or a neighbour failed               exit 3, HTTP 503
    ├── BundleError              a bundle is damaged, unsigned or untrusted
    ├── JournalError             the journal cannot be written or read
    ├── StoreError               the SQL store cannot be reached or is locked
    ├── StepError                a pipeline step failed (its log is shown)
    └── BusyError                somebody else holds it: port, lease, run
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BundleError",
    "BusyError",
    "CheckError",
    "DataError",
    "EverloopError",
    "JournalError",
    "NotFoundError",
    "ParityError",
    "RequestError",
    "SettingsError",
    "StepError",
    "StoreError",
    "SystemError_",
    "UsageError",
    "close_match",
]


def close_match(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest known name, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {match[0]!r}?)" if match else ""


class EverloopError(Exception):
    """The root: its text is one sentence a user can act on; `exit_code` and `http_status` say how it travels."""

    exit_code = 3
    http_status = 500


class UsageError(EverloopError):
    """The caller asked for something that cannot be done as asked."""

    exit_code = 2
    http_status = 400


class SettingsError(UsageError):
    """A project file that cannot be understood; names the file and, where known, the line."""

    def __init__(self, message: str, path: str = "everloop.toml", line: int | None = None) -> None:
        self.message, self.path, self.line = message, path, line
        super().__init__(f"{path}{f':{line}' if line else ''}: {message}")


class RequestError(UsageError):
    """A request that the server refuses; `http_status` is the answer's status."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.http_status = status
        super().__init__(message)


class NotFoundError(UsageError):
    """Nothing of that kind has that name; offers the close match, else says what to do."""

    http_status = 404

    def __init__(self, kind: str, name: str, known: Iterable[str] = (), do: str = "") -> None:
        self.kind, self.name = kind, name
        super().__init__(f"no {kind} {name!r}{close_match(name, known) or (do and f': {do}')}")


class CheckError(EverloopError):
    """The model or the data failed a check: nothing was registered, nothing was ingested."""

    exit_code = 1


class DataError(CheckError):
    """Rows that cannot be used; names the source, the column and the first rows; `rows` holds the places of all.

    `kept` is the id under which they lie in the quarantine, where they do.
    """

    def __init__(self, message: str, rows: Iterable[int] = (), kept: str = "") -> None:
        self.rows, self.kept = tuple(rows), kept
        super().__init__(message)


class ParityError(CheckError):
    """The exported graph and the trained estimator answer differently on too many rows."""


class SystemError_(EverloopError):
    """The machine, a file or a neighbouring process failed; asking again later may work."""

    exit_code = 3
    http_status = 503


class BundleError(SystemError_):
    """A bundle that must not be loaded: a changed byte, a missing file, a wrong or missing signature."""


class JournalError(SystemError_):
    """The journal could not be written or read; what was acknowledged before is safe."""


class StoreError(SystemError_):
    """The SQL store could not be reached, is locked, or is of another version."""


class StepError(SystemError_):
    """A pipeline step failed; names the step and how to go on."""

    def __init__(self, step: str, reason: str, run: str | None = None) -> None:
        self.step, self.reason, self.run = step, reason, run
        resume = f"; finished steps of run {run} are kept, the next run goes on from there" if run else ""
        super().__init__(f"step {step!r} failed: {reason}{resume}")


class BusyError(SystemError_):
    """Somebody else holds what this process needs: a port, the controller's lease, a run."""
