from __future__ import annotations

from typing import Any

import msgspec
import pytest

from everloop.bundles import Manifest
from everloop.types import Column

MANIFEST = Manifest(
    name="toy",
    task="classification",
    inputs=(
        Column("a", "float64", minimum=0.0, maximum=1.0),
        Column("city", "string", "categorical", categories=("Bonn", "Oslo")),
    ),
    outputs=(Column("label", "bool"), Column("probability", "float64", shape=(2,))),
    classes=(False, True),
    run="run-1",
    data_version="data-1",
    commit="abc",
    window={"days": 7},
    metrics={"log_loss": 0.25},
    created=1.5,
    files={"model.onnx": "00"},
)


def test_a_manifest_comes_back_as_it_was() -> None:
    again = msgspec.json.decode(msgspec.json.encode(MANIFEST), type=Manifest)
    assert again == MANIFEST
    assert [type(c) for c in again.classes] == [bool, bool]


@pytest.mark.parametrize("classes", [(0, 1), ("a", "b"), (0.5, 1.5), (False, True)])
def test_classes_keep_their_type(classes: tuple[Any, ...]) -> None:
    manifest = msgspec.structs.replace(MANIFEST, classes=classes)
    again = msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest).classes
    assert [(type(c), c) for c in again] == [(type(c), c) for c in classes]


@pytest.mark.parametrize("field", ["name", "task", "inputs", "outputs", "run", "data_version", "created"])
def test_what_it_cannot_do_without(field: str) -> None:
    values = msgspec.to_builtins(MANIFEST)
    del values[field]
    with pytest.raises(msgspec.ValidationError, match=f"missing required field `{field}`"):
        msgspec.convert(values, Manifest)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert msgspec.convert(msgspec.to_builtins(MANIFEST) | {"later": 1}, Manifest) == MANIFEST
