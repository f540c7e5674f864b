"""What code a function runs: its module, the project modules imported from there however far away, and versions.

Modules below the project's root count by a hash of their source, comments and docstrings left out; of everything else
that they import, the version of the installed distribution counts. For steps of Everloop its own modules count so too.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import marshal
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import everloop
from everloop.errors import NotFoundError, UsageError
from everloop.pipelines.imports import find_module, read_source

__all__ = ["Code", "fingerprint", "read_code"]

_EVERLOOP = Path(everloop.__file__).resolve().parent


class Code(NamedTuple):
    """Hashes by module name, and versions by distribution name (`python` and `everloop` among them)."""

    modules: dict[str, str]
    environment: dict[str, str]


def fingerprint(reference: str | Callable[..., Any], root: Path) -> dict[str, str]:
    """Return what changes when the code behind a function, or behind "module:function", changes.

    Keys are module names and, for installed distributions, `distribution NAME`. Nothing is imported for a reference.
    """
    code = read_code(reference, root)
    return code.modules | {f"distribution {name}": version for name, version in code.environment.items()}


def read_code(reference: str | Callable[..., Any], root: Path) -> Code:
    """Return the modules that a function reaches below `root` (or in Everloop) and the versions that they build on."""
    finder = _Finder(root.resolve())
    modules: dict[str, str] = {}
    outside: set[str] = set()
    if isinstance(reference, str):
        waiting = _start_of_reference(reference, finder)
    elif not (waiting := _start_of_function(reference, finder)):
        modules[reference.__module__] = _hash_of_code(inspect.unwrap(reference).__code__)
    ours = any(name.partition(".")[0] == "everloop" for name, _ in waiting)
    while waiting:
        name, path = waiting.pop()
        if name in modules:
            continue
        source = read_source(path, name)
        modules[name] = source.sha256[:32]
        for imported in source.imports:
            if not ours and imported.partition(".")[0] == "everloop":
                continue  # its version counts, as that of any library
            found = finder.with_parents(imported)
            waiting += found
            if not found:
                outside.add(imported.partition(".")[0])
    return Code(dict(sorted(modules.items())), _environment(outside))


class _Finder:
    """Where modules of the project lie: below its root, its `src`, and what sys.path says inside of it."""

    def __init__(self, root: Path) -> None:
        inside = (place for place in (Path(entry or ".").resolve() for entry in sys.path) if place.is_relative_to(root))
        self.places = [root, root / "src", *(place for place in inside if not _installed(place))]
        self._known: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        if name not in self._known:
            places = [_EVERLOOP.parent] if name.partition(".")[0] == "everloop" else self.places
            self._known[name] = find_module(name, places)
        return self._known[name]

    def with_parents(self, name: str) -> list[tuple[str, Path]]:
        """Return the module and the packages above it, as far as they are the project's: importing one runs them."""
        parts = name.split(".")
        above = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        return [(module, path) for module in above if (path := self.find(module))]


def _installed(place: Path) -> bool:
    standard = Path(sysconfig.get_path("stdlib")).resolve()
    return place.is_relative_to(standard) or not {"site-packages", "dist-packages"}.isdisjoint(place.parts)


def _start_of_reference(reference: str, finder: _Finder) -> list[tuple[str, Path]]:
    name = reference.partition(":")[0]
    if finder.find(name) is None:
        raise NotFoundError("module", name, _modules_near(name, finder.places))
    return finder.with_parents(name)


def _start_of_function(function: Callable[..., Any], finder: _Finder) -> list[tuple[str, Path]]:
    """Return a function's module, whose neighbours count as the project's; nothing where it was typed in."""
    function = inspect.unwrap(function)
    try:
        file = inspect.getsourcefile(function)
    except TypeError as error:
        raise UsageError(f"{function!r} is no Python function: wrap it in one") from error
    if not file or not Path(file).is_file():
        return []
    path, name = Path(file).resolve(), function.__module__
    depth = name.count(".") + (path.name == "__init__.py")
    base = path.parents[min(depth, len(path.parents) - 1)]
    if not _installed(base) and base not in finder.places:
        finder.places.append(base)
    return [(name, path), *finder.with_parents(name)[1:]]


def _modules_near(name: str, places: list[Path]) -> list[str]:
    package = name.split(".")[:-1]
    files = [file for place in places for file in place.joinpath(*package).glob("*.py")]
    folders = [file.parent for place in places for file in place.joinpath(*package).glob("*/__init__.py")]
    return [".".join([*package, path.stem]) for path in (*files, *folders)]


def _hash_of_code(code: CodeType) -> str:
    return hashlib.sha256(marshal.dumps(_portable(code))).hexdigest()[:32]


def _portable(code: CodeType) -> tuple[Any, ...]:
    """Return what a code object does, without file names and line numbers."""
    constants = tuple(_portable(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, constants


def _environment(imported: Iterable[str]) -> dict[str, str]:
    versions = {"python": platform.python_version(), "everloop": _version("everloop") or "unknown"}
    for name in sorted(set(imported) - sys.stdlib_module_names - {"", "__main__", "everloop"}):
        for distribution in _distributions_of(name):
            versions[distribution] = _version(distribution) or "unknown"
    return dict(sorted(versions.items()))


def _distributions_of(module: str) -> list[str]:
    """Most distributions are named as their module; for the others all installed ones are read, once (0.2 s)."""
    if _version(module):
        return [module]
    return sorted(set(_all_distributions().get(module, [])))


@functools.cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return None


@functools.cache
def _all_distributions() -> dict[str, list[str]]:
    return {module: list(names) for module, names in metadata.packages_distributions().items()}
