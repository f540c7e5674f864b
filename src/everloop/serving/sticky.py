"""The key of a request: what a plan is sticky by, read from a header or from a column of the first row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from everloop.serving.protocol import Tensor

__all__ = ["StickyKey", "digest_of"]


def digest_of(model: str, key: str) -> str:
    """Return what the journal keeps of a key: it tells keys of one model apart, and does not say what they are."""
    return sha256(f"{model}\0{key}".encode(errors="surrogatepass")).hexdigest()[:16]


class StickyKey:
    """Finds the key of a request; `sticky_by` is `header:NAME`, `column:NAME` or None (no request has a key).

    A request of several rows has the key of its first row: one version answers all of it.
    """

    def __init__(self, sticky_by: str | None, columns: Sequence[str]) -> None:
        kind, _, name = (sticky_by or "").partition(":")
        self._header = name.lower() if kind == "header" else None
        self._column = name if kind == "column" else None
        self._place = list(columns).index(name) if kind == "column" and name in columns else None

    def of(self, tensors: Sequence[Tensor], header: Callable[[str], str | None]) -> str | None:
        """Return the key, or None when the request has none; malformed tensors have none (they are refused later)."""
        if self._header is not None:
            return header(self._header) or None
        if self._column is None:
            return None
        return _text(self._first_value(tensors))

    def _first_value(self, tensors: Sequence[Tensor]) -> Any:
        for tensor in tensors:
            if tensor.name == self._column:
                return _at(tensor.data, 0)
        if len(tensors) == 1 and self._place is not None:  # a matrix in the manifest's order
            return _at(tensors[0].data, self._place)
        return None


def _at(data: Any, place: int) -> Any:
    row = data
    while row and isinstance(row[0], list):
        row = row[0]
    return row[place] if place < len(row) else None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, list):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # 7 and 7.0 are one customer
    return str(value)
