"""`schema.toml`: the schema as text, one line a column, so that a person reviews its change as any other change."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from everloop.data.schema import Schema
from everloop.errors import SettingsError

__all__ = ["FILE", "check_same_inputs", "diff", "read", "render"]

FILE = "schema.toml"
HEAD = "# What every row must hold. Written by `everloop data add`; a change is reviewed like code.\n"


def read(folder: Path) -> Schema | None:
    """Return the schema that a project has frozen, or None; raises `SettingsError` for a file that is none."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Schema)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"not a schema: {error}", str(path)) from None


def render(schema: Schema) -> str:
    """Return a schema as the text that `read` takes: equal schemas give equal text."""
    head = {"task": schema.task, "time": schema.time} | ({"classes": list(schema.classes)} if schema.classes else {})
    lines = [f"{name} = {_toml(value)}" for name, value in head.items()]
    lines += [f"target = {_toml(msgspec.to_builtins(schema.target))}", "inputs = ["]
    lines += [f"  {_toml(msgspec.to_builtins(column))}," for column in schema.inputs]
    return HEAD + "\n".join([*lines, "]"]) + "\n"


def diff(before: Schema | None, after: Schema) -> str:
    """Return what changes in the text of a schema, as a unified diff; empty where nothing does."""
    old = render(before).splitlines(keepends=True) if before else []
    return "".join(difflib.unified_diff(old, render(after).splitlines(keepends=True), FILE, FILE, n=1))


def check_same_inputs(frozen: Schema, served: Schema, version: str) -> None:
    """Raise `SettingsError` where the frozen schema has other columns, types or classes than the version in production.

    Ranges and categories may differ: a graph takes any number and any text.
    """

    def shape(schema: Schema) -> list[tuple[str, str, str]]:
        columns = (*schema.inputs, schema.target)
        return [(c.name, f"{c.dtype} {c.shape}", c.kind) for c in columns] + [(schema.time, schema.task, "")]

    old, new = shape(served), shape(frozen)
    odd = sorted({name for name, *_ in set(old) ^ set(new)}) or (["their order"] if old != new else [])
    if served.classes != frozen.classes:
        odd.append("the classes")
    if odd:
        raise SettingsError(
            f"its columns are not those of {version}, which serves ({', '.join(odd[:5])}): requests and labels would "
            "not fit both, so a changed table needs a project of its own",
            FILE,
        )


def _toml(value: Any) -> str:
    """Return a value as TOML on one line (JSON's texts are TOML's)."""
    if isinstance(value, dict):
        inner = ", ".join(f"{name} = {_toml(v)}" for name, v in value.items() if v is not None)
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return repr(value)  # inf and nan are TOML's words too
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
