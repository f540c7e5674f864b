"""What the project file says about Elasticsearch: its readers, and the setup of a server."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from everloop.errors import SystemError_, UsageError
from everloop.exporters.elastic import policy, template
from everloop.loop.workspace import Workspace
from everloop.settings import Settings, place
from everloop.shippers.dead_letters import DeadLetters
from everloop.shippers.elastic import Bulk, ElasticTarget
from everloop.shippers.journal_shipper import JournalShipper
from everloop.shippers.search_clients import AnswerError, SearchClient, connect

__all__ = ["client_of", "elastic_target", "journal_shipper", "logs_folder", "set_up"]


def logs_folder(settings: Settings, project: Path) -> Path:
    """Return where `everloop up` writes the logs of its processes."""
    return place(project, settings.storage.lease).parent / "logs"


def client_of(workspace: Workspace) -> SearchClient:
    """Return the client of the project's server; raises UsageError where its key is not in the environment."""
    elastic = workspace.settings.elastic
    if not elastic.url:
        raise UsageError("[elastic] url is not set: it names the server")
    key = os.environ.get(elastic.api_key) if elastic.api_key else None
    if elastic.api_key and not key:
        raise UsageError(f"[elastic] api_key: the environment has no variable {elastic.api_key}")
    return connect(elastic.url, key, elastic.server)


def elastic_target(workspace: Workspace) -> ElasticTarget:
    """Return what sends the changes of the store."""
    return ElasticTarget(_bulk(workspace, "changes"), workspace.settings.elastic.index, workspace.name)


def journal_shipper(workspace: Workspace) -> JournalShipper:
    """Return what sends the journal; another server starts at its beginning."""
    elastic = workspace.settings.elastic
    kept = workspace.path(workspace.settings.storage.lease).parent / "elastic"
    offsets = kept / hashlib.sha256(f"{elastic.url} {elastic.index}".encode()).hexdigest()[:12]
    return JournalShipper(
        workspace.journal, offsets, elastic.index, workspace.name, lambda: _bulk(workspace, "journal")
    )


def set_up(workspace: Workspace, days: int) -> list[str]:
    """Put the policy and the template on the server; return what was put."""
    client, elastic = client_of(workspace), workspace.settings.elastic
    name, server = elastic.index, elastic.server
    try:
        return client.put(name, policy(name, days, server), template(name, server))
    except AnswerError as error:
        raise SystemError_(f"{client.product} does not take the setup: {error}") from error


def _bulk(workspace: Workspace, name: str) -> Bulk:
    kept = workspace.path(workspace.settings.storage.lease).parent / "elastic"
    return Bulk(client_of(workspace), letters=DeadLetters(kept / f"dead-{name}.jsonl"))
