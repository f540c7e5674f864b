"""What models say of rows without a label: the champion, else one trained here and now, and a committee of others."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop import registry
from everloop.data import Schema
from everloop.loop.answering import answers_of
from everloop.loop.developing import ask_of
from everloop.loop.retraining import problem_of
from everloop.loop.workspace import Workspace
from everloop.training.media import decoded
from everloop.training.window import EVERYTHING, fit_recipe

__all__ = ["answers", "committee", "suggestions"]

MEMBERS = 5
Floats = NDArray[np.float64]


def answers(workspace: Workspace, schema: Schema, labelled: pd.DataFrame, rows: pd.DataFrame) -> Floats | None:
    """Return what the champion says of rows, before the first one what a model of all labels does.

    None where there is neither.
    """
    with workspace.store.read() as connection:
        version = registry.alias(connection, workspace.name, "champion")
        bundle = registry.get(connection, workspace.name, version)["bundle"] if version else None
    if bundle is not None:
        return answers_of(workspace.model(bundle), rows, schema)
    return _trained(workspace, schema, labelled, rows, 0) if trainable(schema, labelled) else None


def committee(workspace: Workspace, schema: Schema, labelled: pd.DataFrame, rows: pd.DataFrame) -> list[Floats]:
    """Return what each of five models says that were trained on samples of the labels, with other seeds.

    A sample is drawn with replacement, in each class as many as it has.
    """
    if not trainable(schema, labelled):
        return []
    found = []
    for seed in range(1, MEMBERS + 1):
        rng = np.random.default_rng(seed)
        groups = [labelled]
        if schema.task == "classification":
            groups = [group for _, group in labelled.groupby(schema.target.name, sort=True)]
        sample = pd.concat([group.iloc[np.sort(rng.integers(0, len(group), len(group)))] for group in groups])
        found.append(_trained(workspace, schema, sample.sort_index(), rows, seed))
    return found


def trainable(schema: Schema, labelled: pd.DataFrame) -> bool:
    """Return whether there are labels enough to train any model on: of two classes, or two numbers."""
    return len(labelled) > 1 and labelled[schema.target.name].nunique() > 1


def suggestions(schema: Schema, said: Floats) -> tuple[list[Any], list[float | None]]:
    """Return the likeliest class of each row and its probability; of numbers no probability is known."""
    if said.ndim == 1:
        return [float(f"{value:.4g}") for value in said], [None] * len(said)
    best = said.argmax(axis=1)
    return [schema.classes[place] for place in best.tolist()], said[np.arange(len(said)), best].tolist()


def _trained(
    workspace: Workspace, schema: Schema, labelled: pd.DataFrame, rows: pd.DataFrame, seed: int
) -> NDArray[np.float64]:
    asked = ask_of(workspace.settings, workspace.folder, first=True)
    ask = msgspec.structs.replace(asked, seed=asked.seed + seed, runtime="native")  # no graph is made of it
    problem = problem_of(schema, ask, workspace.folder)
    table = decoded(labelled, schema.inputs)
    trained = fit_recipe(problem, table, np.zeros(len(table)), EVERYTHING, 0.0)
    return trained.answers(decoded(rows, schema.inputs))
