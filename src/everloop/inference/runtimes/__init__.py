"""What executes a model's graph: one small interface, one file an implementation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Runtime"]


class Runtime(Protocol):
    """Answers the tensors of a graph's inputs, by name, with those of its outputs."""

    def predict(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return one tensor an output; the first axis is the row."""
