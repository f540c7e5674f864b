"""One line of what a model was tested for."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Checked", "held"]


class Checked(msgspec.Struct, frozen=True):
    """A check by its name: how it went and why, and the value that was held against a bound, where there are."""

    name: str
    result: Literal["passed", "failed", "skipped"]
    why: str = ""
    value: float | None = None
    bound: float | None = None


def held(name: str, fine: bool, why: str, value: float | None = None, bound: float | None = None) -> Checked:
    """Return a check that passed where it is `fine`, and else failed."""
    return Checked(name, "passed" if fine else "failed", why, value, bound)
