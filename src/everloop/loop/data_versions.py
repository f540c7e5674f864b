"""What versions of the data there are, what lies between two of them, and how to get one back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from everloop import git, store
from everloop.data import list_versions
from everloop.data.dvc import Repository
from everloop.errors import NotFoundError, UsageError
from everloop.loop.dataset import data_folder, repository
from everloop.loop.training_sets import table_of
from everloop.loop.workspace import Workspace
from everloop.types import show_time

__all__ = ["checkout", "diff", "log", "push", "set_remote", "table_of"]


def log(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the versions, newest first: each commit of the data folder, each training set and its models."""
    version = store.model_version.c
    query = sa.select(version.data_version, version.id, version.run, version.commit).order_by(version.created)
    with workspace.store.read() as connection:
        sets, used = list_versions(connection), [tuple(row) for row in connection.execute(query)]
    dated = workspace.settings.data.time is not None  # else times only say the order of rows
    told = [
        _of_set(row, [(id, run, commit) for data, id, run, commit in used if data == row["id"]], dated) for row in sets
    ]
    if known := repository(workspace):
        for commit, time, message in git.log(workspace.folder, known.pointer_file):
            what = {"id": commit[:10], "made": time, "what": message, "rows": None, "from": "", "to": "", "used_by": ""}
            told.append(what | {"code": "", "run": ""})
    told.sort(key=lambda row: -row["made"])
    return [row | {"made": show_time(row["made"])} for row in told]


def _of_set(row: dict[str, Any], used: list[tuple[str, str, str | None]], dated: bool) -> dict[str, Any]:
    """Return a training set with the models made of it, the newest one's commit and run; MLflow's run is called so."""
    _, run, commit = used[-1] if used else ("", "", None)
    return {
        "id": row["id"],
        "made": row["created"],
        "what": "training set",
        "rows": row["rows"],
        "from": show_time(row["start"])[:10] if dated else "",
        "to": show_time(row["end"])[:10] if dated else "",
        "used_by": ", ".join(id for id, _, _ in used),
        "code": _short(commit or ""),
        "run": run,
    }


def _short(commit: str) -> str:
    """Return a commit as a person reads it, also where the tree held more than it."""
    hash, dash, more = commit.partition("-")
    return hash[:10] + dash + more


def diff(workspace: Workspace, before: str | None, after: str | None) -> dict[str, Any]:
    """Return what changed between two commits of the data folder (`after` None: and now), or two training sets.

    Training sets: rows added and removed, and by column its mean (numbers) or new and gone categories (text).
    """
    if before and before.startswith("data-"):
        sets = _sets(workspace)
        after = after or sets[-1]
        return _compare(before, table_of(workspace, before), after, table_of(workspace, after))
    known = _repository(workspace)
    if after and after.startswith("data-"):
        raise UsageError(f"{before} is a commit, {after} a training set: compare two of a kind")
    commits = [commit for commit, _, _ in git.log(workspace.folder, known.pointer_file)]
    if not commits:
        raise UsageError("no data has been added yet: `everloop data add FILE`")
    ends = {"before": _commit(known, before, commits), "after": _commit(known, after, commits) if after else None}
    return {name: value or "now" for name, value in ends.items()} | known.diff(ends["before"] or "", ends["after"])


def checkout(workspace: Workspace, id: str, out: Path | None = None, force: bool = False) -> str:
    """Bring a version back, and return where it is.

    A commit: the data folder and its pointer become what they were then; raises `UsageError` where that would lose
    files that no version holds, unless `force`. A training set: its table is written to `out`, by default ID.parquet.
    """
    if id.startswith("data-"):
        table = table_of(workspace, id)
        place = out or Path(f"{id}.parquet")
        if place.exists() and not force:
            raise UsageError(f"{place} is there already: name another --out, or say --force")
        table.to_csv(place, index=False) if place.suffix == ".csv" else table.to_parquet(place, index=False)
        return str(place)
    known = _repository(workspace)
    commit = _commit(known, id, [c for c, _, _ in git.log(workspace.folder, known.pointer_file)])
    if not force and known.changed():
        raise UsageError(f"{known.data}/ holds changes that no version has: add them, or say --force to lose them")
    known.checkout(commit)
    return known.data


def push(workspace: Workspace) -> int:
    """Send all versions to the remote; returns how many files it lacked."""
    return _repository(workspace).push()


def set_remote(workspace: Workspace, url: str) -> None:
    """Make a folder, a `gs://` or an `s3://` place the remote of this project's data."""
    known = _repository(workspace)
    known.set_remote(url)
    git.commit_files(workspace.folder, [".dvc/config"], f"data: remote {url}")


def _repository(workspace: Workspace) -> Repository:
    found = repository(workspace)
    if found is None:
        where = data_folder(workspace.settings) or workspace.settings.data.source
        raise UsageError(f"{where} has no versions yet: `everloop data add FILE` makes the first")
    return found


def _commit(known: Repository, id: str | None, commits: list[str]) -> str:
    """Return the commit that an id means: the newest, one that changed the data, or any revision git knows."""
    if id is None:
        return commits[0]
    if len(id) >= 4 and (found := [commit for commit in commits if commit.startswith(id)]):
        return found[0]
    if known.pointer(id) is None:
        raise NotFoundError("data version", id, [*(commit[:10] for commit in commits)])
    return id


def _sets(workspace: Workspace) -> list[str]:
    with workspace.store.read() as connection:
        return [str(row["id"]) for row in list_versions(connection)]


def _compare(first: str, a: pd.DataFrame, second: str, b: pd.DataFrame) -> dict[str, Any]:
    same = [str(name) for name in a.columns if name in b.columns]
    old, new = (set(pd.util.hash_pandas_object(t[same], index=False)) for t in (a, b))
    columns: list[dict[str, Any]] = []
    for name in same:
        if pd.api.types.is_numeric_dtype(a[name]):
            columns.append({"column": name, "before": float(a[name].mean()), "after": float(b[name].mean())})
        elif pd.api.types.is_datetime64_any_dtype(a[name]):
            columns.append({"column": name, "before": f"to {a[name].max()}", "after": f"to {b[name].max()}"})
        else:
            columns.append(
                {"column": name, "before": f"{a[name].nunique()} values", "after": f"{b[name].nunique()} values"}
            )
    return {
        "before": f"{first} ({len(a):,} rows)",
        "after": f"{second} ({len(b):,} rows)",
        "rows_added": len(new - old),
        "rows_removed": len(old - new),
        "columns_added": [str(n) for n in b.columns if n not in a.columns],
        "columns_removed": [str(n) for n in a.columns if n not in b.columns],
        "columns": columns,
    }
