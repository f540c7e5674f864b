"""What a table of the project file is."""

from __future__ import annotations

import msgspec

__all__ = ["Section"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the project file: unknown keys are refused."""
