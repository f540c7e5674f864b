"""New rows from the project's sources: pulled, staged, checked as any other file, versioned; each row exactly once.

A batch is complete on disk before it is added, and it keeps its name and content however often that is tried. So a
process may be killed anywhere: the next pull finishes what this one began.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from everloop.data import batches, quarantine
from everloop.data.findings import Findings
from everloop.data.sources import files
from everloop.data.sources.opening import opened_source
from everloop.data.staging import Staged
from everloop.data.validation import Fault
from everloop.errors import DataError, NotFoundError, UsageError
from everloop.loop.commands import post
from everloop.loop.dataset import add_data, data_folder, quarantine_of
from everloop.loop.lease import lease
from everloop.loop.workspace import Workspace
from everloop.pipelines.declared import Environment
from everloop.pipelines.environments import build
from everloop.triggers import pulled_event

__all__ = ["Pulled", "pull"]


class Pulled(msgspec.Struct, frozen=True):
    """What one pull brought: rows as a version, or in the quarantine."""

    source: str
    rows: int
    file: str = ""
    commit: str = ""
    schema_diff: str = ""
    notes: list[str] = []
    quarantined: str = ""
    """The id of the batch in the quarantine, where it was refused."""
    refused: str = ""
    """Why."""
    more: bool = False
    """Whether the pull ended at the source's `limit`."""


def pull(workspace: Workspace, name: str, now: float, tell: Callable[[str], None] = lambda _part: None) -> Pulled:
    """Bring what is new in one source into the data folder, as a version; a batch that does not fit is quarantined.

    Raises `SystemError_` where the source cannot be read: what is safe by then is kept, and the next pull goes on.
    """
    sources = workspace.settings.data.sources
    if name not in sources:
        raise NotFoundError("source in [data.sources]", name, sources)
    with lease(_place(workspace, name) / "lease", f"everloop data pull of {name}"):
        staged = Staged(_place(workspace, name))
        path = staged.folder / _file_name(workspace, name, staged.number)
        if staged.new:
            _refuse_unknown_past(workspace, name, path.name)
        if not staged.sealed:
            tell(f"pulling {name}")
            _fetch(workspace, name, staged)
        if not staged.rows:
            pattern = sources[name].entities or sources[name].url
            none = staged.cursor.get("files") == []  # a place that is not there looks like one that is empty yet
            return Pulled(name, 0, notes=[f"no file matches {pattern}"] if none else [])
        more = staged.rows >= sources[name].limit
        found = _add(workspace, name, staged, path, now, tell)
        staged.done()
        path.unlink(missing_ok=True)
        return msgspec.structs.replace(found, more=more)


def _place(workspace: Workspace, name: str) -> Path:
    return workspace.path(workspace.settings.storage.lease).parent / "sources" / name


def _file_name(workspace: Workspace, name: str, number: int) -> str:
    """Return what a batch is called: what `[data] source` takes."""
    told, folder = workspace.settings.data.source, data_folder(workspace.settings)
    pattern = PurePosixPath(told).name
    if folder is None or "*" not in pattern or set("?[") & set(pattern):
        raise UsageError(f"[data] source = {told!r} takes no new files: rows are pulled into one such as 'data/*.csv'")
    found = pattern.replace("*", f"{name}-{number:06}", 1).replace("*", "")
    return found if PurePosixPath(found).suffix in files.SUFFIXES else f"{found}.jsonl"


def _refuse_unknown_past(workspace: Workspace, name: str, file: str) -> None:
    """Raise `UsageError` where rows of a source are there, but not how far it was read: they would come twice."""
    if (workspace.folder / str(data_folder(workspace.settings)) / file).exists():
        raise UsageError(
            f"{file} is there already, but not how far source {name!r} was read: pull where that was done, "
            f"or bring {_place(workspace, name)} from there"
        )


def _fetch(workspace: Workspace, name: str, staged: Staged) -> None:
    """Stage what the source has, and seal it."""
    settings = workspace.settings.data.sources[name]
    time = workspace.settings.data.time or ""
    with opened_source(settings, name, workspace.name, workspace.folder, os.environ, time, _environment) as source:
        for chunk in source.read(staged.cursor, settings.limit - staged.rows):
            staged.add(chunk.rows, chunk.cursor)
    if staged.rows:
        staged.seal()


def _environment(packages: Sequence[str]) -> Path:
    return build(Environment(tuple(packages)))


def _add(
    workspace: Workspace, name: str, staged: Staged, path: Path, now: float, tell: Callable[[str], None]
) -> Pulled:
    """Make a sealed batch a version and tell the triggers, or put it into the quarantine; twice is as once."""
    folder = workspace.folder / str(data_folder(workspace.settings))
    dropped = batches.write(staged.all, path, batches.columns_of(folder, path.name, workspace.settings.data.source))
    notes = (
        [f"{path.name}: left out, since the files before have no such column: {', '.join(dropped)}"] if dropped else []
    )
    try:
        origin = workspace.settings.data.sources[name].url
        added = add_data(workspace, [str(path)], replace=True, now=now, tell=tell, origin=origin)
    except DataError as error:
        kept = error.kept or _quarantine(workspace, name, path, error, now)
        return Pulled(name, staged.rows, path.name, notes=notes, quarantined=kept, refused=str(error))
    if workspace.settings.triggers.of("sources") is not None:
        post(workspace.store, pulled_event(name, path.name, staged.rows, added.commit, time=now))
    return Pulled(name, staged.rows, path.name, added.commit, added.schema_diff, notes + added.notes)


def _quarantine(workspace: Workspace, name: str, path: Path, error: DataError, now: float) -> str:
    """Keep a batch from which no schema can be learned, so that the source goes on."""
    found, place = Findings.of([Fault("", str(error), error.rows)]), quarantine_of(workspace)
    source = workspace.settings.data.sources[name].url
    return quarantine.put(place, path.name, found, source=source, time=now, original=path).id
