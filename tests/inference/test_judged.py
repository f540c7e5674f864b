from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.serving.sites import SHOP, shop_graph, write_bundle

from everloop.bundles import SigningKey, load, trusted
from everloop.inference import JudgedRows, judged_rows
from everloop.types import Column


def test_a_bundle_gives_the_rows_it_was_judged_on(tmp_path: Path) -> None:
    outputs = (Column("label", "int64", "categorical"), Column("probability", "float64", shape=(2,)))
    write_bundle(
        tmp_path / "shop", SigningKey.create(tmp_path / "keys"), "shop", shop_graph(), SHOP,
        task="classification", outputs=outputs, classes=(0, 1),
    )  # fmt: skip
    rows = judged_rows(load(tmp_path / "shop", trusted(tmp_path / "keys")))
    assert list(rows.inputs) == [column.name for column in SHOP]
    assert {name: values.dtype.kind for name, values in rows.inputs.items()} == {
        "price": "f", "count": "i", "member": "b", "city": "O",
    }  # fmt: skip
    assert len(rows.target) == len(rows.answers) == len(rows.times) == 12


def test_a_truth_is_a_value_or_the_place_of_a_class() -> None:
    def truth(target: list[object], classes: tuple[object, ...]) -> list[float]:
        found: list[float] = JudgedRows({}, np.array(target), np.empty(0), np.empty(0)).truth(classes).tolist()
        return found

    assert truth([1.5, 2.5], ()) == [1.5, 2.5]
    assert truth([7, 3, 7], (3, 7)) == [1, 0, 1]
    assert truth([True, False], (False, True)) == [1, 0]
    assert truth(["yes", "no"], ("no", "yes")) == [1, 0]
