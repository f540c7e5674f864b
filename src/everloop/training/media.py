"""Images and videos of a training table, decoded once for all fits of a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from everloop.inference.media import arrays_of, media_of
from everloop.types import Column

__all__ = ["decoded"]


def decoded(rows: pd.DataFrame, inputs: Sequence[Column]) -> pd.DataFrame:
    """Return the rows with an array of uint8 in each cell of a column of images or videos, as the graph takes it."""
    found = {}
    for column in media_of(inputs):
        cells = np.empty(len(rows), dtype=object)
        for place, array in enumerate(arrays_of(column, rows[column.name].tolist())):
            cells[place] = array
        found[column.name] = pd.Series(cells, index=rows.index)
    return rows.assign(**found) if found else rows
