"""Steps with an environment of their own: this module imports what that environment has, and the decorators."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from everloop.pipelines import Environment, step

BARE = Environment()
SIX = Environment(packages=("six==1.17.0",))
UNSOLVABLE = Environment(packages=("six==1.16.0", "six==1.17.0"))


class Pair(NamedTuple):
    text: str
    data: bytes


@step(env=BARE)
def where(numbers: list[int]) -> dict[str, Any]:
    """Tell which Python this is and what it has."""
    try:
        import numpy  # noqa: F401

        has = True
    except ImportError:
        has = False
    return {"prefix": sys.prefix, "numpy": has, "sum": sum(numbers)}


@step(env=SIX)
def versions(folder: Path, raw: bytes) -> Pair:
    import six  # type: ignore[import-untyped]

    return Pair(f"{six.__version__} {sorted(p.name for p in folder.iterdir())}", raw[::-1])


@step(env=SIX)
def makes_a_folder(name: str) -> Path:
    Path(name).mkdir()
    (Path(name) / "a.txt").write_text("a")
    return Path(name)


@step(env=BARE)
def fails(number: int) -> int:
    print("before the end")
    raise ValueError(f"{number} is wrong")


@step(env=BARE)
def gives_no_value(number: int) -> Any:
    return object() if number else None


@step(env=UNSOLVABLE)
def never(number: int) -> int:
    return number
