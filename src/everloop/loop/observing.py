"""Writes the files for Prometheus, Grafana, Kibana and their like, and keeps what somebody changed in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from everloop.errors import UsageError
from everloop.exporters import grafana, prometheus
from everloop.exporters.elastic import policy, template
from everloop.exporters.kibana import saved_objects
from everloop.exporters.log_files import filebeat, logstash
from everloop.exporters.prometheus import Limits, Places
from everloop.loop.written_files import write_texts
from everloop.settings import Settings, seconds

__all__ = ["rendered", "rendered_elastic", "write_files"]

WRITTEN = ".written.json"
"""Holds the SHA-256 of each file as it was written, by which a changed one is known."""


def write_files(files: dict[str, str], folder: Path, *, force: bool = False) -> list[str]:
    """Write files into a folder and return their paths in it.

    Raises UsageError, with nothing written, where somebody changed a file since; `force` writes over it.
    """
    known = _written(folder / WRITTEN)
    changed = [name for name, text in files.items() if _changed(folder / name, text, known.get(name))]
    if changed and not force:
        raise UsageError(f"{', '.join(changed)} in {folder} was changed by somebody: --force writes over it")
    record = msgspec.json.encode({name: _hash(text.encode()) for name, text in files.items()}).decode()
    write_texts(folder, files | {WRITTEN: record})
    return list(files)


def rendered(settings: Settings, interval: str = "15s") -> dict[str, str]:
    """Return the files of a project by path."""
    serving, events = settings.serving, settings.events
    places = Places(f"{serving.host}:{serving.port}", f"{events.host}:{events.port}")
    limits = Limits(
        evaluation=seconds(settings.monitoring.interval),
        seal=seconds(settings.storage.seal),
        coverage=settings.deployment.minimum_coverage,
    )
    return prometheus.render(places, limits, interval) | grafana.render(f"http://{places.prometheus}")


def rendered_elastic(settings: Settings, logs: Path, days: int) -> dict[str, str]:
    """Return the files of a project for Elasticsearch or OpenSearch, its dashboards, and those who ship log files."""
    elastic = settings.elastic
    index, server = elastic.index, elastic.server
    return {
        "policy.json": _json(policy(index, days, server)),
        "index-template.json": _json(template(index, server)),
        "saved-objects.ndjson": saved_objects(index),
        "filebeat.yml": filebeat(elastic, str(logs)),
        "logstash.conf": logstash(elastic, str(logs)),
    }


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _written(record: Path) -> dict[str, str]:
    """Return what was written, by the record of it; where that is damaged, every other file is somebody's."""
    try:
        return msgspec.json.decode(record.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _changed(path: Path, text: str, written: str | None) -> bool:
    if not path.is_file():
        return False
    found = path.read_bytes()
    return found != text.encode() and _hash(found) != written


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
