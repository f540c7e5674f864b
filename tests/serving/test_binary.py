"""Tensors in binary: what was sent is read to the bit, and what is malformed is told by its tensor."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import RequestError
from everloop.serving.binary import decode_body, encode_body, wanted_binary
from everloop.serving.protocol import InferRequest, InferResponse, OutputTensor, RequestedOutput

KINDS = {
    "FP16": st.floats(width=16, allow_infinity=False, allow_nan=False),
    "FP32": st.floats(width=32, allow_infinity=False, allow_nan=False),
    "FP64": st.floats(allow_infinity=False, allow_nan=False),
    "BOOL": st.booleans(),
    "BYTES": st.text(),
    **{f"INT{n}": st.integers(-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32, 64)},
    **{f"UINT{n}": st.integers(0, 2**n - 1) for n in (8, 16, 32, 64)},
}
DTYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "?"}
TENSORS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(KINDS[kind], max_size=5))
)


def packed(kind: str, values: list[Any]) -> bytes:
    if kind == "BYTES":
        return b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)
    return np.array(values, DTYPES.get(kind, kind.lower())).tobytes()


def body(*tensors: tuple[str, list[Any]], **fields: Any) -> tuple[bytes, str]:
    """Return a request of binary tensors called t0, t1, ... and the length of its JSON."""
    blobs = [packed(*tensor) for tensor in tensors]
    inputs = [
        {
            "name": f"t{n}", "shape": [len(values)], "datatype": kind,
            "parameters": {"binary_data_size": len(blob)},
        }
        for n, ((kind, values), blob) in enumerate(zip(tensors, blobs, strict=True))
    ]  # fmt: skip
    head = msgspec.json.encode({"inputs": inputs, **fields})
    return b"".join((head, *blobs)), str(len(head))


@given(st.lists(TENSORS, min_size=1, max_size=4))
def test_what_was_sent_is_read(tensors: list[tuple[str, list[Any]]]) -> None:
    request = decode_body(*body(*tensors))
    assert [tensor.data for tensor in request.inputs] == [values for _, values in tensors]


@given(st.lists(TENSORS, min_size=1, max_size=3), st.data())
def test_broken_bodies_are_refused_and_never_crash(tensors: list[tuple[str, list[Any]]], data: st.DataObject) -> None:
    content, length = body(*tensors)
    cut = data.draw(st.integers(0, len(content)))
    junk = data.draw(st.binary(max_size=8))
    for broken, size in [
        (content[:cut], length),
        (content[:cut] + junk, length),
        (content, str(cut)),
        (content + b"x", length),
    ]:
        try:
            decode_body(broken, size)
        except RequestError:
            continue
        assert broken == content or junk  # junk may happen to be a number


@given(st.lists(TENSORS, min_size=1, max_size=4))
def test_answers_in_binary_hold_the_same_values(tensors: list[tuple[str, list[Any]]]) -> None:
    outputs = [OutputTensor(f"o{n}", kind, (len(values),), values) for n, (kind, values) in enumerate(tensors)]
    response = InferResponse("m", "v1", "id", {"prediction_id": "id"}, outputs)
    content, length = encode_body(response, ("*",))
    told = msgspec.json.decode(content[:length])
    place = length
    for output, (kind, values) in zip(told["outputs"], tensors, strict=True):
        size = output["parameters"]["binary_data_size"]
        assert content[place : place + size] == packed(kind, values)
        place += size
    assert place == len(content)
    assert told["parameters"] == {"prediction_id": "id"}


def test_not_a_number_is_missing_and_infinity_is_refused() -> None:
    assert decode_body(*body(("FP64", [1.0, math.nan]))).inputs[0].data == [1.0, None]
    with pytest.raises(RequestError, match="tensor 't0', value 1: inf is no FP32"):
        decode_body(*body(("FP32", [1.0, math.inf])))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda b, _: (b, "x"), "'x' is no length within a body of"),
        (lambda b, _: (b, "99999"), "'99999' is no length within a body of"),
        (lambda b, n: (b[:-1], n), "tensor 't1': 6 bytes do not follow, 5 do"),
        (lambda b, n: (b + b"..", n), "2 bytes follow that belong to no tensor"),
        (lambda b, n: (b.replace(b'"FP64"', b'"FP32"'), n), r"tensor 't0' has shape \[1\] and 8 bytes, not 4"),
        (lambda b, n: (b.replace(b'"FP64"', b'"FP99"'), n), "tensor 't0' has unknown datatype 'FP99'"),
        (lambda b, n: (b.replace(b"\2\0\0\0", b"\3\0\0\0"), n), "tensor 't1', value 0: its 3 bytes do not follow"),
        (lambda b, n: (b.replace(b'"BYTES"', b'"BOOL" '), n), r"tensor 't1' has shape \[1\] and 6 bytes, not 1"),
    ],
)
def test_what_is_wrong_is_told_with_its_tensor(change: Any, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        decode_body(*change(*body(("FP64", [1.0]), ("BYTES", ["ab"]))))


def test_which_outputs_are_wanted_in_binary() -> None:
    def asked(every: bool | None, *outputs: RequestedOutput) -> Any:
        return wanted_binary(
            InferRequest([], None, {} if every is None else {"binary_data_output": every}, list(outputs))
        )

    one = RequestedOutput("a", {"binary_data": True})
    assert asked(None) is None
    assert asked(True) == ("*",)
    assert asked(None, one, RequestedOutput("b")) == {"a"}
    assert asked(True, RequestedOutput("b", {"binary_data": False}), RequestedOutput("c")) == {"c"}
