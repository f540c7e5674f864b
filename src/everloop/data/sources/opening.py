"""Which module reads a source; its library is imported only where a project names one."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from everloop.data.sources.secrets import Secrets
from everloop.data.sources.source import Given, Source
from everloop.settings import Source as Settings

__all__ = ["opened_source"]


class Kind(NamedTuple):
    """The module of a kind of source, and the extra that brings its library."""

    module: str
    extra: str


KINDS = {
    "files": Kind("tables", ""),
    "sql": Kind("sql", ""),
    "rest": Kind("rest", "rest"),
    "kafka": Kind("kafka", "kafka"),
    "mqtt": Kind("mqtt", "mqtt"),
    "feast": Kind("features", ""),
}


@contextlib.contextmanager
def opened_source(
    settings: Settings,
    name: str,
    project: str,
    folder: Path,
    environment: Mapping[str, str],
    time: str = "",
    build: Callable[[Sequence[str]], Path] = lambda _packages: Path(sys.executable),
) -> Iterator[Source]:
    """Give the source that settings name; what goes wrong while it is used is one sentence, and tells no secret."""
    assert settings.kind is not None  # the settings were checked
    module, extra = KINDS[settings.kind]
    if settings.kind == "sql" and settings.url.startswith("postgres"):
        extra = "postgresql"
    secrets = Secrets(name, environment)
    with secrets.spoken(settings.url, extra):
        made = importlib.import_module(f"everloop.data.sources.{module}")
        source: Source = made.make(settings, Given(f"{project}-{name}", folder, secrets, time, build))
        yield source
