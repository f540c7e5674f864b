"""`[data.sources.NAME]`: places that new rows are pulled from, and which keys each kind of place takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from everloop.settings.section import Section
from everloop.settings.units import seconds

__all__ = ["Kind", "Source", "faults_of"]

Kind = Literal["files", "sql", "rest", "kafka", "mqtt", "feast"]
TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
PAGING = r"(link|next:[^:]+|page:[^:]+|offset:[^:]+|token:[^:]+:[^:]+)?"
COMMON = {"url", "every", "limit"}
SECRET = re.compile(r"(authorization|token|secret|password|passwd|api.?key|cookie)$", re.IGNORECASE)


class Source(Section, frozen=True, kw_only=True):
    """`[data.sources.NAME]`: a place that `everloop data pull` takes new rows from."""

    url: str
    """`$NAME` in it, in `params`, `headers` and `options` is read from the environment."""
    every: str = ""
    """How often the controller pulls; only `everloop data pull` does without it."""
    limit: int = 1_000_000
    """Rows of one pull at most."""
    cursor: tuple[str, ...] = ()
    """Columns that order the rows of a table or an API, and tell them apart."""
    overlap: str = ""
    """How far behind the newest value of the first of them late rows are looked for."""
    table: str = ""
    query: str = ""
    rows: str = ""
    """Where an answer of an API holds its rows: `data.items`."""
    paging: str = ""
    since: str = ""
    """The parameter that tells an API from which value of the cursor on."""
    params: dict[str, str] = msgspec.field(default_factory=dict)
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    rate: float = 0.0
    """Requests a second at most."""
    retries: int = 5
    wait: str = "1s"
    """How long a stream must be silent until a pull ends."""
    options: dict[str, str] = msgspec.field(default_factory=dict)
    entities: str = ""
    """Files of keys and times that features are looked up for."""
    features: tuple[str, ...] = ()
    """`view:feature`, or the name of one feature service."""

    @property
    def kind(self) -> Kind | None:
        """What stands behind the URL; None where its scheme says nothing."""
        scheme, _, rest = self.url.partition("://")
        named = scheme.partition("+")[0]
        if not rest or (scheme in ("http", "https") and PurePosixPath(urlsplit(self.url).path).suffix in TABLES):
            return "files"
        return _KINDS.get(named)


_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("file", "s3", "s3a", "gs", "gcs", "memory"), "files"),
    **dict.fromkeys(("postgresql", "postgres", "mysql", "mariadb", "sqlite", "oracle", "mssql", "duckdb"), "sql"),
    **dict.fromkeys(("http", "https"), "rest"),
    "kafka": "kafka",
    "feast": "feast",
    **dict.fromkeys(("mqtt", "mqtts"), "mqtt"),
}  # fmt: skip
_KEYS: dict[Kind, set[str]] = {
    "files": set(),
    "sql": {"cursor", "overlap", "table", "query"},
    "rest": {"cursor", "overlap", "rows", "paging", "since", "params", "headers", "rate", "retries"},
    "kafka": {"options"},
    "mqtt": {"wait"},
    "feast": {"entities", "features"},
}


def faults_of(name: str, source: Source) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a source: the key, and what to write; never a value that may be a secret."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,49}", name):
        yield "", "a source is named with small letters, digits, '_' and '-': its files are called after it"
    kind = source.kind
    if kind is None:
        yield "url", f"begins with none of {', '.join(sorted(_KINDS))}"
        return
    for key in source.__struct_fields__:
        given = getattr(source, key) != getattr(Source(url=source.url), key)
        if given and key not in COMMON | _KEYS[kind]:
            yield key, f"is nothing that {source.url.partition('://')[0] or 'a file'} takes"
    yield from _forms(source)
    yield from _secrets(source)
    if kind in ("sql", "rest") and not source.cursor:
        yield "cursor", "is needed: the columns that order the rows and tell them apart, such as ['updated', 'id']"
    if kind == "sql" and bool(source.table) == bool(source.query):
        yield "table", "or query: one of both is needed"
    if kind == "feast" and not (source.entities and source.features):
        yield "entities", "and features are needed: the files of keys and times, and what is looked up for them"
    if kind in ("kafka", "mqtt") and not urlsplit(source.url).path.strip("/"):
        yield "url", f"names no topic: write {kind}://HOST:PORT/TOPIC"


def _forms(source: Source) -> Iterator[tuple[str, str]]:
    for key in ("every", "wait"):
        try:
            if (text := getattr(source, key)) and seconds(text) <= 0:
                yield key, f"{text!r} must last longer than nothing"
        except ValueError as error:
            yield key, str(error)
    if not re.fullmatch(r"(\d+(\.\d+)?\s*(ms|[smhdw])?)?", source.overlap):
        yield "overlap", f"{source.overlap!r}: write a number, or a duration such as '10m'"
    if not re.fullmatch(PAGING, source.paging):
        told = "write 'link', 'next:PATH', 'page:PARAMETER', 'offset:PARAMETER' or 'token:PARAMETER:PATH'"
        yield "paging", f"{source.paging!r}: {told}"
    for key, low in (("limit", 1), ("rate", 0), ("retries", 0)):
        if getattr(source, key) < low:
            yield key, f"{getattr(source, key)} is less than {low}"


def _secrets(source: Source) -> Iterator[tuple[str, str]]:
    told = "holds a secret: write the name of an environment variable in its place, as $NAME"
    place = source.url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    password = place.partition(":")[2]
    if password and not re.fullmatch(r"\$(\w+|\{\w+\})", password):
        yield "url", told
    asked = dict(part.partition("=")[::2] for part in urlsplit(source.url).query.split("&"))
    for key, named in (
        ("url", asked),
        ("params", source.params),
        ("headers", source.headers),
        ("options", source.options),
    ):
        if any(SECRET.search(name) and value and "$" not in value for name, value in named.items()):
            yield key, told
