"""What Everloop itself writes into a project file, all else in it kept as a person wrote it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from everloop.errors import UsageError
from everloop.settings.reading import FILE, parse

__all__ = ["set_parameters"]


def set_parameters(folder: Path, parameters: Mapping[str, Any]) -> None:
    """Set `[training] parameters` in the project file; others of them, comments and order stay.

    The file is replaced whole, once what it would say has been read.
    """
    try:
        import tomlkit
    except ImportError:
        raise UsageError("writing parameters takes tomlkit: pip install 'everloop[tuning]'") from None
    path = folder / FILE
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    training: Any = document["training"]
    if "parameters" not in training:
        training["parameters"] = tomlkit.inline_table()
    for name, value in parameters.items():
        training["parameters"][name] = value
    text = tomlkit.dumps(document)
    parse(text, str(path))
    partial = path.with_name(f".{FILE}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
