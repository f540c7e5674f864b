"""Which modules a module imports, read from its source without running it."""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Source", "find_module", "read_source"]

_as_loaded: dict[Path, tuple[object, Source]] = {}
"""Of modules that this process has loaded, the source as first read: an edit since then is not what it runs."""


class Source(NamedTuple):
    """What a cache must know of one file: a hash that comments and docstrings leave alone, and what it imports.

    `imports` are dotted names in absolute form; one may name a module, or something inside of one.
    """

    sha256: str
    imports: tuple[str, ...]


def read_source(path: Path, module: str) -> Source:
    """Read the file of `module`; one that is no valid Python counts byte by byte and imports nothing."""
    status = path.stat()
    source = _read(path, module, status.st_mtime_ns, status.st_size)
    loaded = sys.modules.get(module)
    if loaded is None or getattr(loaded, "__file__", None) != str(path):
        return source
    token = loaded.__spec__ or loaded
    known, first = _as_loaded.setdefault(path, (token, source))
    if known is not token:  # loaded anew
        _as_loaded[path] = (token, source)
        return source
    return first


def find_module(name: str, places: Sequence[Path]) -> Path | None:
    """Return the file of a module below one of `places`, or None where it lies elsewhere (or is a mere namespace)."""
    for place in places:
        stem = place.joinpath(*name.split("."))
        for file in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
            if file.is_file():
                return file
    return None


@functools.lru_cache(maxsize=4096)
def _read(path: Path, module: str, _changed: int, _size: int) -> Source:
    data = path.read_bytes()
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return Source(hashlib.sha256(data).hexdigest(), ())
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports = tuple(dict.fromkeys(_imports(tree, package)))
    _strip_docstrings(tree)
    return Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports)


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                start = _absolute(module, level, package)
                yield start
                yield from (f"{start}.{alias.name}" for alias in names if alias.name != "*")
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
                called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                if called in ("import_module", "__import__"):
                    yield name


def _absolute(module: str | None, level: int, package: str) -> str:
    if level == 0:
        return module or ""
    parts = package.split(".")
    above = parts[: len(parts) - level + 1]
    return ".".join([*above, *([module] if module else [])])


def _strip_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            del node.body[0]
