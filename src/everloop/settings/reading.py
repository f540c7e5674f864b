"""Reads a project file once: `Settings`, or one sentence with the line of what is wrong."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_origin

import msgspec

from everloop.errors import SettingsError, UsageError, close_match
from everloop.settings.checks import check_values, line_of
from everloop.settings.section import Section
from everloop.settings.sections import Settings, Training

__all__ = ["FILE", "changed", "load", "located", "parse"]

FILE = "everloop.toml"


def load(folder: Path) -> Settings:
    """Return the settings of the project in `folder`; raises `SettingsError` with the line of what is wrong."""
    path = folder / FILE
    if folder.is_file():
        raise SettingsError(f"a file: name the project's folder, which holds {FILE}", path=str(folder))
    if not path.is_file():
        raise SettingsError(
            f"not a project: there is no {FILE} here (`everloop init NAME` makes one)", path=str(folder)
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"not UTF-8 at byte {error.start}: save it as UTF-8", path=str(path)) from None
    return parse(text, str(path))


@contextlib.contextmanager
def located(folder: Path) -> Iterator[None]:
    """Give a `SettingsError` that only the use of a setting shows the line of what it names: `[table] key = ...`."""
    try:
        yield
    except SettingsError as error:
        named = re.match(r"\[([\w.]+)\](?: (\w+) =)?", error.message)
        if error.line or named is None:
            raise
        path, table = folder / FILE, named[1].split(".")
        text = path.read_text(encoding="utf-8")
        line = (line_of(text, [*table, named[2]]) if named[2] else None) or line_of(text, table)
        raise SettingsError(error.message, str(path), line) from None


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return settings with other values below `[training]`: `{"training.parameters.trees": 100}`.

    Raises UsageError for a key that is none, and for a value that does not fit.
    """
    plain: dict[str, Any] = msgspec.to_builtins(settings.training)
    for key, value in changes.items():
        table, *path = key.split(".")
        if table != "training" or not path:
            raise UsageError(f"{key!r} cannot be set for one run: name a key of [training], such as training.window")
        inner = plain
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        if inner is plain and path[-1] not in plain:
            raise UsageError(f"unknown key {path[-1]!r} in [training]{close_match(path[-1], plain)}")
        inner[path[-1]] = value
    try:
        found = msgspec.structs.replace(settings, training=msgspec.convert(plain, Training))
    except msgspec.ValidationError as error:
        raise UsageError(f"what is set for this run does not fit [training]: {error}") from error
    check_values(found, "", "--set")
    return found


def parse(text: str, path: str = FILE) -> Settings:
    """Return the settings that a project file's text holds."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not valid TOML: {error}", path) from None
    _refuse_unknown(raw, Settings, [], text, path)
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        keys = [k for k in re.sub(r"\[[^\]]*\]", "", place.rstrip("`")).split(".") if k]
        where = f"[{'.'.join(keys)}] " if keys else ""
        told = message[0].lower() + message[1:] + _choices(keys)
        raise SettingsError(where + told, path, line_of(text, keys)) from None
    check_values(settings, text, path)
    return settings


def _choices(keys: Sequence[str]) -> str:
    """Return what may be written for a key, where that is one of some texts, or a table or a flag."""
    kind: Any = Settings
    for key in keys:
        section = kind if isinstance(kind, type) else _section(kind)
        fields = {f.name: f.type for f in msgspec.structs.fields(section)} if section else {}
        if key not in fields:
            return ""
        kind = fields[key]
    options = [kind, *getattr(kind, "__args__", ())]
    texts = [repr(value) for one in options if get_origin(one) is Literal for value in one.__args__]
    if texts:
        listed = " or a list" if any(get_origin(one) is tuple for one in options) else ""
        return f": write {' or '.join(texts)}{listed}"
    return ": write true, false or a table of its settings" if bool in options and _section(kind) else ""


def _refuse_unknown(raw: dict[str, Any], struct: type[msgspec.Struct], keys: list[str], text: str, path: str) -> None:
    fields = {f.name: f.type for f in msgspec.structs.fields(struct)}
    for key, value in raw.items():
        here = [*keys, key]
        if key not in fields:
            inside, near = f" in [{'.'.join(keys)}]" if keys else "", close_match(key, fields)
            if not (keys or near):
                near = f": the tables are {', '.join(fields)}"
            raise SettingsError(f"unknown key {key!r}{inside}{near}", path, line_of(text, here))
        inner = _section(fields[key])
        named = getattr(fields[key], "__origin__", None) is dict  # tables that the user names
        listed = value if isinstance(value, list) else [value]
        for place, table in value.items() if named and isinstance(value, dict) else [("", one) for one in listed]:
            if inner and isinstance(table, dict):
                _refuse_unknown(table, inner, [*here, place] if named else here, text, path)


def _section(annotation: Any) -> type[msgspec.Struct] | None:
    for option in getattr(annotation, "__args__", (annotation,)):
        if isinstance(option, type) and issubclass(option, Section):
            return option
    return None
