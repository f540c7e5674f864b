from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.monitoring.worlds import COLUMNS, mixed, reference, window

from everloop.inference.media import media_column
from everloop.monitoring import HIDDEN, Cut, Window, unlabelled
from everloop.monitoring.features import Binned, Counted, Images, Texts, Vectors, feature_of
from everloop.types import Column


@pytest.mark.parametrize(
    ("column", "values", "kind", "width"),
    [
        (Column("a", "float64"), np.arange(90.0), Binned, 15),
        (Column("city", "string", "categorical"), ["Bonn", "Oslo"], Counted, 3),
        (Column("note", "string", "text"), ["late", "well"], Texts, 32),
        (media_column("photo", "image", (9, 7), "RGB", 0), np.zeros((2, 9, 7, 3)), Images, 32),
        (media_column("clip", "video", (9, 7), "L", 3), np.zeros((2, 3, 9, 7, 1)), Images, 32),
        (Column("way", "float64", shape=(5,)), np.zeros((2, 5)), Vectors, 5),
        (Column("way", "float64", shape=(50,)), np.zeros((2, 50)), Vectors, 32),
    ],
    ids=lambda value: value.name if isinstance(value, Column) else None,
)
def test_each_kind_of_column_has_its_features(column: Column, values: object, kind: type, width: int) -> None:
    feature = feature_of(column, values)
    assert isinstance(feature, kind)
    rows = feature.rows(values)
    assert rows.shape[1] == width
    sums, count = feature.sums(values)
    assert sums == pytest.approx(rows.sum(0))
    assert count == len(rows)


def test_a_video_is_looked_at_through_all_frames() -> None:
    frames = np.zeros((1, 3, 8, 8, 1))
    frames[0, 2, :2, :2] = 9.0
    found = Images((3, 8, 8, 1)).rows(frames)[0]
    assert found[0] == pytest.approx(3.0)
    assert found[16] == pytest.approx(np.std([9.0] * 4 + [0.0] * 8))
    assert np.delete(found, [0, 16]) == pytest.approx(0.0)


def test_the_hidden_layer_drifts_by_its_own_name() -> None:
    rng = np.random.default_rng(0)
    fields = mixed(rng, 30 * 24)
    known = reference(fields, COLUMNS, "regression", 30)
    detectors = unlabelled(msgspec.structs.replace(known, hidden=rng.normal(size=(30 * 24, 64))), Cut())

    def fires(shift: float) -> set[str]:
        layer = rng.normal(size=(24, 64)) + shift
        seen: Window = window(mixed(rng, 24), 40)
        seen = msgspec.structs.replace(seen, columns=seen.columns | {HIDDEN: layer})
        return {s.name for d in detectors if (s := d.update(seen)) is not None and s.firing and "drift:(" in s.name}

    assert [fires(0.0) for _ in range(5)] == [set()] * 5
    assert {name for _ in range(4) for name in fires(2.0)} == {"data_drift:(hidden layer)"}
