"""Features of a Feast repository, as they were known at each row's time; Feast runs in an environment of its own."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from everloop.data.sources.messages import UNREADABLE
from everloop.data.sources.source import Chunk, Cursor, Given, Row
from everloop.data.sources.tables import TablesSource
from everloop.errors import SystemError_, UsageError
from everloop.settings import Source

__all__ = ["PACKAGES", "FeatureSource", "make"]

PACKAGES = ("feast==0.67.0",)


def make(settings: Source, given: Given) -> FeatureSource:
    """Return the source; repository and entities lie in the project where their paths are relative."""
    if not given.time:
        raise UsageError("needs [data] time: features are looked up as they were known at that time")
    repository = given.folder / settings.url.removeprefix("feast://")
    if not (repository / "feature_store.yaml").is_file():
        raise UsageError(f"url: there is no feature_store.yaml in {repository}")
    entities = given.secrets.fill(settings.entities)
    rows = TablesSource(entities if "://" in entities else str(given.folder / entities))

    def join(found: Sequence[Row]) -> list[Row]:
        return _join(given.build(PACKAGES), repository, settings.features, given.time, found)

    return FeatureSource(rows, join)


class FeatureSource:
    """Rows of files, each once, with the features joined to them."""

    def __init__(self, rows: TablesSource, join: Callable[[Sequence[Row]], list[Row]]) -> None:
        self._rows, self._join = rows, join

    def read(self, cursor: Cursor, limit: int) -> Iterator[Chunk]:
        """Yield the rows of the files that are new, a file at a time."""
        for chunk in self._rows.read(cursor, limit):
            whole = bool(chunk.rows) and UNREADABLE not in chunk.rows[0]
            yield Chunk(self._join(chunk.rows) if whole else chunk.rows, chunk.cursor)


def _join(python: Path, repository: Path, features: Sequence[str], time: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows with their features, in the same order."""
    with tempfile.TemporaryDirectory(prefix="everloop-feast-") as name:
        order, found = Path(name, "order.json"), Path(name, "found.jsonl")
        told = {"repository": str(repository), "features": features, "time": time, "rows": rows}
        order.write_bytes(msgspec.json.encode(told))
        script = Path(__file__).with_name("inside_feast.py")
        command = [str(python), "-P", str(script), str(order), str(found)]  # our modules beside it hide no others
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            last = ended.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise SystemError_(f"Feast did not give the features: {last[0]}")
        return msgspec.json.decode(b"[" + b",".join(found.read_bytes().splitlines()) + b"]", type=list[Row])
