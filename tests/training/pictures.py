"""Rows of a picture, a video, numbers and words to train on, made from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.inference import tensor_of
from everloop.inference.media import media_column
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.types import Column

COLUMNS = (
    media_column("photo", "image", (6, 5), "RGB", 0),
    media_column("clip", "video", (4, 3), "L", 2),
    Column("a", "float64"),
    Column("rooms", "int64"),
    Column("flag", "bool"),
    Column("city", "string", "categorical"),
)


def pictured(rows: int = 80, seed: int = 0) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Return rows, decoded as training sees them, and a number that each column has a share in."""
    rng = np.random.default_rng(seed)
    photos = rng.integers(0, 256, (rows, 6, 5, 3), np.uint8)
    photos[::2] //= 4
    clips = rng.integers(0, 256, (rows, 2, 4, 3, 1), np.uint8)
    frame = pd.DataFrame(
        {
            "photo": pd.Series(list(photos), dtype=object),
            "clip": pd.Series(list(clips), dtype=object),
            "a": np.where(rng.uniform(size=rows) < 0.1, np.nan, rng.normal(5, 3, rows)),
            "rooms": rng.integers(1, 9, rows),
            "flag": rng.uniform(size=rows) < 0.5,
            "city": rng.choice(["Bonn", "Oslo", ""], rows),
        }
    )
    bright = photos.mean(axis=(1, 2, 3)) / 64
    return frame, bright + frame["a"].fillna(0).to_numpy() + 2 * (frame["city"] == "Oslo").to_numpy() + frame["rooms"]


def asked(graph: bytes, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Return the graph's answers."""
    return OnnxRuntime(graph).predict({c.name: tensor_of(c, rows[c.name]) for c in COLUMNS})
