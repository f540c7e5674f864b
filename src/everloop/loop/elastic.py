"""What the project file says about Elasticsearch: its readers, and the setup of a server."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from everloop.errors import SystemError_, UsageError
from everloop.exporters.elastic import policy, template
from everloop.loop.workspace import Workspace
from everloop.shippers.dead_letters import DeadLetters
from everloop.shippers.elastic import Bulk, ElasticTarget, connect
from everloop.shippers.journal_shipper import JournalShipper

__all__ = ["client_of", "elastic_target", "journal_shipper", "set_up"]


def client_of(workspace: Workspace) -> Any:
    """Return the client of the project's server; raises UsageError where its key is not in the environment."""
    elastic = workspace.settings.elastic
    if not elastic.url:
        raise UsageError("[elastic] url is not set: it names the server")
    key = os.environ.get(elastic.api_key) if elastic.api_key else None
    if elastic.api_key and not key:
        raise UsageError(f"[elastic] api_key: the environment has no variable {elastic.api_key}")
    return connect(elastic.url, key)


def elastic_target(workspace: Workspace) -> ElasticTarget:
    """Return what sends the changes of the store."""
    return ElasticTarget(_bulk(workspace, "changes"), workspace.settings.elastic.index, workspace.name)


def journal_shipper(workspace: Workspace) -> JournalShipper:
    """Return what sends the journal; another server starts at its beginning."""
    elastic = workspace.settings.elastic
    place = workspace.path(workspace.settings.storage.lease).parent / "elastic"
    offsets = place / hashlib.sha256(f"{elastic.url} {elastic.index}".encode()).hexdigest()[:12]
    return JournalShipper(
        workspace.journal, offsets, elastic.index, workspace.name, lambda: _bulk(workspace, "journal")
    )


def set_up(workspace: Workspace, days: int) -> list[str]:
    """Put the policy and the template on the server; return what was put."""
    client, name = client_of(workspace), workspace.settings.elastic.index
    from elasticsearch import ApiError, TransportError

    try:
        client.ilm.put_lifecycle(name=name, **policy(days))
        client.indices.put_index_template(name=name, **template(name))
    except (ApiError, TransportError) as error:
        raise SystemError_(f"Elasticsearch does not take the setup: {error.message}".splitlines()[0]) from error
    return [f"_ilm/policy/{name}", f"_index_template/{name}"]


def _bulk(workspace: Workspace, name: str) -> Bulk:
    place = workspace.path(workspace.settings.storage.lease).parent / "elastic"
    return Bulk(client_of(workspace), letters=DeadLetters(place / f"dead-{name}.jsonl"))
