"""The tables that models were trained on."""

from __future__ import annotations

import pandas as pd
import sqlalchemy as sa

from everloop import store
from everloop.data.versions import get
from everloop.loop.workspace import Workspace
from everloop.pipelines import Artifact

__all__ = ["table_of"]


def table_of(workspace: Workspace, id: str) -> pd.DataFrame:
    """Return the table of a training set."""
    with workspace.store.read() as connection:
        row = get(connection, id)
        query = sa.select(store.artifact).where(store.artifact.c.id == row["artifact"])
        found = connection.execute(query).mappings().one()
    table: pd.DataFrame = workspace.artifacts.get(Artifact(found["id"], found["format"], found["uri"], found["size"]))
    return table
