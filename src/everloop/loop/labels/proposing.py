"""Which rows of an unlabelled pool a person should label next, by what the labelled ones and the champion tell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.data import Schema, by_row, conform, infer, timed
from everloop.data.media import columns_of, with_files
from everloop.errors import DataError, UsageError
from everloop.labelling import Chosen, Known, choose, embed
from everloop.loop.labels import files as label_files
from everloop.loop.labels.models import answers, committee, suggestions, trainable
from everloop.loop.parts import parts_of
from everloop.loop.schemas import frozen_schema
from everloop.loop.workspace import Workspace
from everloop.training import forget_modules, prepare

__all__ = ["AUTO", "Proposal", "marked", "named", "propose", "said_of"]

AUTO = "auto"
MOST, ENOUGH = 20_000, 5_000
"""Rows of a pool, and labelled ones, that a choice looks at; of more a sample."""


class Proposal(msgspec.Struct, frozen=True):
    """Rows to label in the order of what they teach, how they were chosen, and among how many of the `open` ones."""

    rows: pd.DataFrame
    strategy: str
    candidates: int
    open: int


def propose(workspace: Workspace, pool: Path, count: int, strategy: str = AUTO, seed: int = 0) -> Proposal:
    """Return rows of a file as they came, with the target to be filled in, the reason and what a model suggests.

    Rows that have a label, in this file or in `[data] source`, are left out, and so are doubles. Raises `DataError`
    for rows that no model of the project could take.
    """
    target = workspace.settings.data.target
    forget_modules(workspace.folder)
    typed, written = label_files.read(pool), label_files.as_written(pool)
    open_ = _open(workspace, typed, target)
    if not len(open_):
        raise UsageError(f"{pool.name}: every row of it has a label already")
    sampled = len(open_) > MOST
    candidates = np.sort(np.random.default_rng(seed).choice(open_, MOST, replace=False)) if sampled else open_
    schema, labelled = _labelled(workspace)
    plain = typed.iloc[candidates].drop(columns=[target, *label_files.NOTES], errors="ignore").reset_index(drop=True)
    try:
        schema, inputs = _prepared(workspace, plain, pool.parent, schema)
    except DataError as error:
        raise DataError(f"{pool.name}: {error}", error.rows) from error
    strategy, known = said_of(workspace, schema, labelled, inputs, strategy, seed)
    chosen = choose(strategy, known, count, seed)
    here = written.iloc[candidates].reset_index(drop=True)
    return Proposal(marked(here, chosen, schema, known, target), strategy, len(candidates), len(open_))


def said_of(
    workspace: Workspace, schema: Schema, labelled: pd.DataFrame, inputs: pd.DataFrame, strategy: str, seed: int
) -> tuple[str, Known]:
    """Return the strategy that `auto` means here, and what it goes by."""
    if len(labelled) > ENOUGH:
        labelled = labelled.sample(ENOUGH, random_state=seed).sort_index()
    strategy = named(strategy, schema, labelled)
    said = answers(workspace, schema, labelled, inputs)
    told = [] if said is None else [said]
    if strategy == "committee":
        told += committee(workspace, schema, labelled, inputs)
    seen = [labelled[schema.names]] if len(labelled) else []
    everything = pd.concat([*seen, inputs[schema.names]], ignore_index=True)
    return strategy, Known(embed(everything, schema.inputs, seed), len(labelled), told)


def named(strategy: str, schema: Schema, labelled: pd.DataFrame) -> str:
    """Return the strategy that is asked for; `auto` is mixed for classes, a committee for numbers.

    Before there are labels to train on it is diversity.
    """
    if strategy != AUTO:
        return strategy
    if not trainable(schema, labelled):
        return "diversity"
    return "mixed" if schema.task == "classification" else "committee"


def marked(rows: pd.DataFrame, chosen: Sequence[Chosen], schema: Schema, known: Known, target: str) -> pd.DataFrame:
    """Return the chosen rows with an empty target, the reasons and what the model suggests beside them."""
    places = [one.row for one in chosen]
    found = rows.iloc[places].drop(columns=[target, *label_files.NOTES], errors="ignore").reset_index(drop=True)
    suggested: list[Any] = [None] * len(places)
    confidence: list[float | None] = [None] * len(places)
    if known.answers:
        suggested, confidence = suggestions(schema, known.answers[0][places])
    notes: dict[str, Any] = {
        target: pd.Series([None] * len(places), dtype=object),
        label_files.REASON: [one.reason for one in chosen],
        label_files.SUGGESTED: suggested,
        label_files.CONFIDENCE: [None if share is None else round(share, 4) for share in confidence],
    }
    return found.assign(**notes)


def _open(workspace: Workspace, typed: pd.DataFrame, target: str) -> NDArray[np.intp]:
    """Return the places of rows that have no label yet, each of equal ones once."""
    keys, known = label_files.labels_of(workspace, typed)
    return np.flatnonzero((~label_files.filled(typed, target)) & ~keys.isin(list(known)) & ~keys.duplicated())


def _labelled(workspace: Workspace) -> tuple[Schema | None, pd.DataFrame]:
    """Return the schema that rows must fit, None before any is known, and the labelled rows of `[data] source`."""
    settings, schema = workspace.settings, frozen_schema(workspace)
    tables = [parts_of(settings, workspace.folder, path) for path in label_files.labelled_files(workspace)]
    if not tables:
        return schema, pd.DataFrame(columns=[settings.data.target])
    rows, time = pd.concat([table.whole() for table in tables], ignore_index=True), tables[0].time
    media = columns_of(settings.data.columns)
    schema = schema or infer(rows, target=settings.data.target, time=time, task=settings.data.task, media=media)
    return schema, conform(rows, schema).reset_index(drop=True)


def _prepared(
    workspace: Workspace, plain: pd.DataFrame, beside: Path, schema: Schema | None
) -> tuple[Schema, pd.DataFrame]:
    """Return rows as a model of the project takes them, and the schema that says how."""
    settings = workspace.settings
    processed = by_row(plain, settings.data.process, os.environ)
    made = prepare(settings.training.features, workspace.folder, processed)
    if len(made) != len(plain):
        told = f"made {len(made)} rows of {len(plain)}: it must keep each row of a pool"
        raise DataError(f"{settings.training.features!r} {told}")
    rows = with_files(made.reset_index(drop=True), settings.data.columns, beside)
    schema = schema or _shown(workspace, rows)
    return schema, _inputs(rows, schema, settings.data.time)


def _shown(workspace: Workspace, rows: pd.DataFrame) -> Schema:
    """Return what a pool shows of its columns before there is any label; its target is none."""
    data = workspace.settings.data
    table, time = timed(rows.assign(**{data.target: 0.0}), data.time)
    return infer(table, target=data.target, time=time, task="regression", media=columns_of(data.columns))


def _inputs(rows: pd.DataFrame, schema: Schema, time: str | None) -> pd.DataFrame:
    """Return rows as the schema has them, in their own order; the target of the schema holds nothing real."""
    anything = schema.classes[0] if schema.classes else 0.0
    table, _ = timed(rows.assign(**{schema.target.name: anything}), time)
    return conform(table, schema).sort_index()
