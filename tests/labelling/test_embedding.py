"""What is alike lies close together, whatever type its column has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from everloop.inference.media import media_column, packed
from everloop.labelling import embed
from everloop.types import Column


def nearest(points: NDArray[np.float64]) -> list[int]:
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return [int(place) for place in distances.argmin(axis=1)]


def pictures(kind: str) -> tuple[Column, list[str]]:
    """Two bright from above, two bright from the left."""
    column = media_column("it", "image" if kind == "image" else "video", (20, 12), "L", 3)
    lit = [np.zeros((20, 12), np.uint8) for _ in range(4)]
    for place, image in enumerate(lit):
        image[(slice(0, 9), slice(None)) if place < 2 else (slice(None), slice(0, 5))] = 200 + place
    shown = [image if kind == "image" else np.stack([image] * 3)[..., None] for image in lit]
    return column, [packed(array) for array in shown]


@pytest.mark.parametrize("kind", ["numeric", "categorical", "text", "image", "video"])
def test_each_kind_of_column_has_its_measure(kind: str) -> None:
    known: dict[str, list[Any]] = {
        "numeric": [1.0, 1.1, 9.0, 9.1],
        "categorical": ["Bonn", "Bonn", "Oslo", "Oslo"],
        "text": ["free prize call now", "call now, a free prize", "see you at home", "at home: see you later"],
    }
    if kind in known:
        column, values = Column("it", "float64" if kind == "numeric" else "string", kind), known[kind]  # type: ignore[arg-type]
    else:
        column, values = pictures(kind)
    points = embed(pd.DataFrame({"it": values}), [column])
    assert nearest(points) == [1, 0, 3, 2]


def test_columns_weigh_the_same_and_gaps_are_usual() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=200) * 1000, "b": rng.normal(size=200), "c": ["x"] * 200})
    rows.loc[3, "a"] = np.nan
    columns = [Column("a", "float64"), Column("b", "float64"), Column("c", "string", "categorical")]
    points = embed(rows, columns)
    assert points[:, :2].std(axis=0) == pytest.approx([1.0, 1.0])
    assert abs(points[3, 0]) < 0.2
    assert not points[:, 2].any()  # the same in all rows tells nothing


def test_texts_without_a_word_are_all_alike() -> None:
    points = embed(pd.DataFrame({"t": ["!", "?", "..."]}), [Column("t", "string", "text")])
    assert not points.any()


def test_many_words_go_into_few_numbers() -> None:
    texts = [f"word{n} word{n + 1} shared" for n in range(300)]
    assert embed(pd.DataFrame({"t": texts}), [Column("t", "string", "text")]).shape == (300, 64)
