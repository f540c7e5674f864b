"""OpenLineage: an event for the beginning and the end of each run and each of its steps, with what went in and out."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from everloop.errors import UsageError
from everloop.pipelines.history import KnownArtifact, KnownExecution, KnownRun
from everloop.shippers.outbox import Entry, UnreachableError

__all__ = ["OpenLineageTarget", "client_of", "events_of"]

PRODUCER = "https://everloop.dev"
_SPACE = uuid.UUID("6f0d1c1e-6a54-5c63-8f0e-1d5d0c8f9b1a")
_ENDS = {"finished": "COMPLETE", "cached": "COMPLETE", "failed": "FAIL"}


class OpenLineageTarget:
    """Sends the events of a run: its beginning when it is told, all of it at its end."""

    kinds = frozenset({"run"})

    def __init__(self, client: Any, namespace: str, artifacts: str, read: Callable[[str], KnownRun | None]) -> None:
        """`artifacts` is where they lie, the namespace of data sets; `read` returns a run."""
        self._client, self._namespace, self._artifacts, self._read = client, namespace, artifacts, read

    def take(self, entry: Entry) -> None:
        """Send what a run came to; its events carry the same ids each time."""
        run = self._read(entry.payload["id"])
        if run is None:
            return
        done = entry.payload["status"] in _ENDS
        for event in events_of(run, self._namespace, self._artifacts, whole=done):
            try:
                self._client.emit(event)
            except Exception as error:  # each transport raises its own kind
                told = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise UnreachableError(f"OpenLineage does not take events: {told}") from error


def client_of(place: str) -> Any:
    """Return a client that sends to the API at a URL, or appends to a file, a line an event."""
    try:
        from openlineage.client import OpenLineageClient
        from openlineage.client.transport.file import FileConfig, FileTransport
        from openlineage.client.transport.http import HttpConfig, HttpTransport
    except ImportError as error:
        raise UsageError("OpenLineage needs its client: pip install 'everloop[openlineage]'") from error
    logging.getLogger("openlineage").setLevel(logging.WARNING)
    if place.startswith(("http://", "https://")):
        return OpenLineageClient(transport=HttpTransport(HttpConfig.from_dict({"url": place, "retry": {"total": 0}})))
    return OpenLineageClient(transport=FileTransport(FileConfig(place, append=True)))


def events_of(run: KnownRun, namespace: str, artifacts: str, *, whole: bool = True) -> Iterator[Any]:
    """Give the events of a run in the order of time: its beginning and, when `whole`, its steps and its end."""
    from openlineage.client import event_v2 as event
    from openlineage.client import facet_v2 as facet

    job = event.Job(namespace, run.pipeline)
    id = str(uuid.uuid5(_SPACE, run.id))
    commit: dict[str, Any] = {}
    if run.commit:
        told = facet.source_code_location_job.SourceCodeLocationJobFacet("git", "", version=run.commit)
        commit = {"sourceCodeLocation": told}
    yield _event(event.Job(namespace, run.pipeline, commit), event.Run(id), "START", run.started)
    if not whole:
        return
    parent = facet.parent_run.ParentRunFacet(facet.parent_run.Run(id), facet.parent_run.Job(namespace, run.pipeline))
    for execution in run.executions:
        yield from _step(run, execution, namespace, artifacts, parent)
    if run.status in _ENDS:
        yield _event(job, event.Run(id, _failure(run.error)), _ENDS[run.status], run.finished or run.started)


def _step(run: KnownRun, one: KnownExecution, namespace: str, artifacts: str, parent: Any) -> Iterator[Any]:
    from openlineage.client import event_v2 as event

    job = event.Job(namespace, f"{run.pipeline}.{one.step}")
    id = str(uuid.uuid5(_SPACE, f"{run.id} {one.id}"))
    sets = {
        "inputs": [_data(event.InputDataset, artifacts, a) for a in one.inputs.values()],
        "outputs": [_data(event.OutputDataset, artifacts, a) for a in one.outputs.values()],
    }
    yield _event(job, event.Run(id, {"parent": parent}), "START", one.started, sets)
    if one.status in _ENDS:
        facets = {"parent": parent, **_failure(one.error)}
        yield _event(job, event.Run(id, facets), _ENDS[one.status], one.finished or one.started, sets)


def _data(kind: Any, artifacts: str, artifact: KnownArtifact) -> Any:
    """Return an artifact as a version of the data set that its maker gives."""
    from openlineage.client import facet_v2 as facet

    version = facet.dataset_version_dataset.DatasetVersionDatasetFacet(artifact.id)
    storage = facet.storage_dataset.StorageDatasetFacet("everloop", artifact.format)
    name = artifact.made_by or f"artifact.{artifact.id[:12]}"
    return kind(artifacts, name, facets={"version": version, "storage": storage})


def _failure(error: str | None) -> dict[str, Any]:
    from openlineage.client import facet_v2 as facet

    if not error:
        return {}
    told = error.strip().splitlines()
    return {"errorMessage": facet.error_message_run.ErrorMessageRunFacet(told[-1], "python", error)}


def _event(job: Any, run: Any, state: str, time: float, sets: Mapping[str, Any] | None = None) -> Any:
    from openlineage.client import event_v2 as event

    when = datetime.fromtimestamp(time, UTC).isoformat()
    return event.RunEvent(
        eventTime=when, producer=PRODUCER, run=run, job=job, eventType=event.RunState[state], **(sets or {})
    )
