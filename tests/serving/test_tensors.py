from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.sites import RIDES, SHOP

from everloop.errors import RequestError
from everloop.inference.media import arrays_of, media_column, packed
from everloop.serving.protocol import Tensor
from everloop.serving.tensors import TensorReader
from everloop.types import Column

DATATYPES = ["FP16", "FP32", "FP64", *(f"{sign}INT{n}" for sign in ("", "U") for n in (8, 16, 32, 64))]


def rides(**tensors: tuple[list[int], str, list[Any]]) -> dict[str, list[Any]]:
    """Read a request for `rides` of one row, some of its tensors replaced."""
    usual = {name: ([1], "FP64", [0.5]) for name in ("hour", "temp", "hum")}
    return TensorReader(RIDES).read([Tensor(name, *parts) for name, parts in (usual | tensors).items()])


@pytest.mark.parametrize(("shape", "data"), [([2], [1.0, 2.0]), ([2, 1], [1.0, 2.0]), ([2, 1], [[1.0], [2.0]])])
def test_flat_and_nested_columns(shape: list[int], data: list[Any]) -> None:
    tensors = [Tensor(name, shape, "FP64", data) for name in ("hour", "temp", "hum")]
    assert TensorReader(RIDES).read(tensors) == {"hour": [1.0, 2.0], "temp": [1.0, 2.0], "hum": [1.0, 2.0]}


@given(rows=st.integers(1, 5), nested=st.booleans(), name=st.text(max_size=5))
@settings(max_examples=40)
def test_a_matrix_has_the_columns_in_the_manifests_order(rows: int, nested: bool, name: str) -> None:
    matrix = np.arange(rows * 3, dtype=float).reshape(rows, 3)
    data = matrix.tolist() if nested else matrix.ravel().tolist()
    read = TensorReader(RIDES).read([Tensor(name, [rows, 3], "FP64", data)])
    assert read == {"hour": matrix[:, 0].tolist(), "temp": matrix[:, 1].tolist(), "hum": matrix[:, 2].tolist()}


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_number_is_a_number(datatype: str) -> None:
    assert rides(hour=([2], datatype, [7, None]), temp=([2], "FP64", [1.0, None]), hum=([2], "INT8", [-1, 2])) == {
        "hour": [7, None],
        "temp": [1.0, None],
        "hum": [-1, 2],
    }


def test_texts_and_flags() -> None:
    tensors = [
        Tensor("price", [1], "FP32", [3]),
        Tensor("count", [1, 1], "INT32", [[4]]),
        Tensor("member", [1], "BOOL", [True]),
        Tensor("city", [1], "BYTES", ["Oslo"]),
    ]
    assert TensorReader(SHOP).read(tensors) == {"price": [3.0], "count": [4], "member": [True], "city": ["Oslo"]}


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (([2], "FP64", [1.0]), "has shape [2] and 1 values, not 2"),
        (([1], "FP64", []), "has shape [1] and 0 values, not 1"),
        (([0], "FP64", []), "with a row at least"),
        (([-1], "FP64", [1.0]), "with a row at least"),
        (([], "FP64", [1.0]), "send [rows] or [rows, 1]"),
        (([1, 2], "FP64", [1.0, 2.0]), "send [rows] or [rows, 1]"),
        (([1, 1, 1], "FP64", [1.0]), "send [rows] or [rows, 1]"),
        (([2], "FP64", [1.0, 2.0]), "has 1 rows, tensor 'hour' has 2"),
        (([1], "FP64", ["x"]), "value 0: 'x' is no FP64"),
        (([1], "FP64", [True]), "value 0: True is no FP64"),
        (([1], "FP64", [10**400]), "is no FP64"),
        (([1], "FP16", [70000.0]), "70000.0 is no FP16"),
        (([1], "FP64", [{"a": 1}]), "is no FP64"),
        (([1], "INT64", [1.5]), "1.5 is no INT64"),
        (([1], "UINT8", [256]), "256 is no UINT8"),
        (([1], "UINT8", [-1]), "-1 is no UINT8"),
        (([1], "INT64", [2**63]), "is no INT64"),
        (([1], "INT8", ["x" * 100]), "..."),
        (([1], "BYTES", ["x"]), "has datatype BYTES: this model takes a number such as FP64"),
        (([1], "FLOAT", [1.0]), "unknown datatype 'FLOAT'"),
        (([2, 1], "FP64", [[1.0], 2.0]), "mixes nested and flat data"),
        (([2, 1], "FP64", [[1.0]]), "has shape [2, 1] and 1 rows"),
        (([2, 1], "FP64", [[1.0], [2.0, 3.0]]), "has shape [2, 1] and 2 rows"),
        (([1], "FP64", [[1.0]]), "is no FP64"),
    ],
)
def test_what_is_wrong_is_named(tensor: tuple[list[int], str, list[Any]], reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        rides(hour=tensor)
    assert str(caught.value).startswith("tensor ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("value", "reason"), [("yes", "'yes' is no BOOL"), (1, "1 is no BOOL"), (None, "None is no BOOL")]
)
def test_a_flag_is_true_or_false(value: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        TensorReader((Column("member", "bool"),)).read([Tensor("member", [1], "BOOL", [value])])


def test_a_text_is_a_text() -> None:
    with pytest.raises(RequestError, match="tensor 'city', value 1: 5 is no BYTES"):
        TensorReader((Column("city", "string"),)).read([Tensor("city", [2], "BYTES", ["a", 5])])


def test_names_are_checked() -> None:
    with pytest.raises(RequestError, match=r"unknown tensor 'huor' \(did you mean 'hour'\?\)"):
        rides(huor=([1], "FP64", [1.0]))
    with pytest.raises(RequestError, match="missing tensors 'temp', 'hum'"):
        TensorReader(RIDES).read([Tensor("hour", [1], "FP64", [1.0])])
    with pytest.raises(RequestError, match="'hour' comes twice"):
        TensorReader(RIDES).read([Tensor("hour", [1], "FP64", [1.0])] * 3)
    with pytest.raises(RequestError, match="missing tensor"):
        TensorReader(RIDES).read([])


def test_a_matrix_must_fit_the_model() -> None:
    with pytest.raises(RequestError, match=r"has shape \[2, 2\]: this model takes \[rows, 3\]"):
        TensorReader(RIDES).read([Tensor("x", [2, 2], "FP64", [1.0] * 4)])
    with pytest.raises(RequestError, match=r"takes \[rows, 3\]"):
        TensorReader(RIDES).read([Tensor("x", [0, 3], "FP64", [])])
    with pytest.raises(RequestError, match="a number such as FP64"):
        TensorReader(RIDES).read([Tensor("x", [1, 3], "BYTES", ["a"] * 3)])
    with pytest.raises(RequestError, match="send one tensor a column"):
        TensorReader(SHOP).read([Tensor("x", [1, 4], "FP64", [1.0] * 4)])
    with pytest.raises(RequestError, match=r"unknown tensor 'ciyt' \(did you mean 'city'"):
        TensorReader(SHOP).read([Tensor("ciyt", [1, 1], "BYTES", ["a"])])


def test_a_tensor_without_data_is_told() -> None:
    with pytest.raises(RequestError, match=r"tensor 'x' has shape \[1\] and 0 values, not 1"):
        TensorReader((Column("x", "float64"),)).read([Tensor("x", [1], "FP64")])


PHOTO = media_column("photo", "image", (2, 3), "L", 0)
PIXELS = np.array([[0, 1, 2], [253, 254, 255]], np.uint8)


def photo(shape: list[int], datatype: str, data: list[Any], **parameters: Any) -> list[str]:
    return TensorReader((PHOTO,)).read([Tensor("photo", shape, datatype, data, parameters)])["photo"]


def test_files_are_sent_as_bytes_or_as_base64() -> None:
    file = base64.b64decode(packed(PIXELS))
    for shape in ([2], [2, 1]):
        assert photo(shape, "BYTES", [file, file], binary_data_size=2 * len(file)) == [packed(PIXELS)] * 2
        assert photo(shape, "BYTES", [packed(PIXELS)] * 2) == [packed(PIXELS)] * 2
    assert photo([1], "BYTES", ["text"], binary_data_size=8) == [base64.b64encode(b"text").decode()]


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_decoded_pixels_are_sent_flat_or_nested(datatype: str) -> None:
    for data in (PIXELS.ravel().tolist(), PIXELS.reshape(1, 2, 3, 1).tolist()):
        [found] = photo([1, 2, 3, 1], datatype, data)
        assert (arrays_of(PHOTO, [found])[0, :, :, 0] == PIXELS).all()


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (
            ([1, 3, 2, 1], "UINT8", [0] * 6),
            r"shape \[1, 3, 2, 1\]: send \[rows, 2, 3, 1\], or the files themselves as BYTES",
        ),
        (([0, 2, 3, 1], "UINT8", []), r"send \[rows, 2, 3, 1\]"),
        (([1, 2, 3, 1], "UINT8", [0] * 5), "and 5 values, not 6"),
        (([1, 2, 3, 1], "UINT8", [0] * 5 + [256]), "no whole number from 0 to 255"),
        (([1, 2, 3, 1], "FP32", [0] * 5 + [0.5]), "no whole number from 0 to 255"),
        (([1, 2, 3, 1], "FP32", [0] * 5 + ["x"]), "no whole number from 0 to 255"),
        (([1, 2, 3, 1], "FP32", [0] * 5 + [None]), "no whole number from 0 to 255"),
        (([1, 2, 3, 1], "FP64", [0] * 6), "datatype FP64: this model takes BYTES or FP32 or UINT8"),
        (([1, 2], "BYTES", ["a", "b"]), r"send \[rows\] or \[rows, 1\] of files, one a row"),
        (([1], "BYTES", [5]), "value 0: 5 is no BYTES"),
    ],
)
def test_what_is_no_picture_is_named(tensor: tuple[list[int], str, list[Any]], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        photo(*tensor)


def test_bytes_that_are_no_text_are_told() -> None:
    with pytest.raises(RequestError, match="tensor 'city', value 1 is not UTF-8"):
        TensorReader((Column("city", "string"),)).read([Tensor("city", [2], "BYTES", ["a", b"\xff"])])
