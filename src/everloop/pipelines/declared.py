"""What a step may declare beside its function: what it needs of a machine, its own environment, what it reads."""

from __future__ import annotations

import hashlib
import re

import msgspec

from everloop.errors import UsageError
from everloop.settings import size

__all__ = ["Environment", "Query", "Resources"]


class Resources(msgspec.Struct, frozen=True):
    """What a step needs at most: processors, memory such as "4GB", graphics processors.

    Where steps share a machine, those whose needs exceed it together wait for each other; Ray places by it, Kubernetes
    takes it as request and limit.
    """

    cpu: float = 1.0
    memory: str | None = None
    gpu: int = 0

    def __post_init__(self) -> None:
        if self.cpu <= 0 or self.gpu < 0:
            raise UsageError(f"resources of {self.cpu:g} processors and {self.gpu} graphics processors: give counts")
        try:
            _ = self.bytes
        except ValueError as error:
            raise UsageError(f"resources, memory: {error}") from None

    @property
    def bytes(self) -> int:
        """The memory in bytes; 0 where none is declared."""
        return size(self.memory) if self.memory else 0


class Environment(msgspec.Struct, frozen=True):
    """The Python and the packages of a step that cannot share the project's: built by uv, once, then shared.

    Its module may import `everloop.pipelines` for the decorators and what these packages bring, and nothing else of
    Everloop. Arguments and results travel as files: what JSON says, bytes, DataFrames where pandas and pyarrow are
    among the packages, dicts of numpy arrays, Paths.
    """

    packages: tuple[str, ...] = ()
    python: str | None = None
    """Such as "3.11"; by default that of the project."""

    def __post_init__(self) -> None:
        if self.python is not None and not re.fullmatch(r"3\.\d+(\.\d+)?", self.python):
            raise UsageError(f"environment, python: {self.python!r}: write a version such as '3.11'")
        if isinstance(self.packages, str):
            raise UsageError(f"environment, packages: write a list, [{self.packages!r}]")
        msgspec.structs.force_setattr(self, "packages", tuple(sorted(self.packages)))

    @property
    def hash(self) -> str:
        """What names it: equal declarations share one environment."""
        return hashlib.sha256(msgspec.json.encode([self.python, self.packages])).hexdigest()[:16]


class Query(msgspec.Struct, frozen=True):
    """An SQL query as a step's argument: in `reads`, its result counts for the cache."""

    database: str
    """SQLAlchemy's URL; `$NAME` in it is read from the environment, so that no secret stands in a row."""
    sql: str
