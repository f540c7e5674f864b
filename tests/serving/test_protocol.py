from __future__ import annotations

import msgspec
import pytest

from everloop.errors import RequestError
from everloop.serving.protocol import (
    InferResponse,
    OutputTensor,
    TensorMetadata,
    decode_feedback,
    decode_infer,
    encode,
    tensor_metadata,
)
from everloop.types import Column


def test_a_request_as_other_clients_send_it() -> None:
    request = decode_infer(
        b'{"id":"7","parameters":{"binary_data":false},"outputs":[{"name":"y","parameters":{"a":1}}],'
        b'"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[[1]],"parameters":{"content_type":"np"}}]}'
    )
    assert (request.id, request.inputs[0].data, request.outputs[0].name) == ("7", [[1]], "y")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"{}", "missing required field `inputs`"),
        (b'{"inputs":[{"name":"x","shape":[1],"data":[1]}]}', r"`datatype` - at `\$.inputs\[0\]`"),
        (b'{"inputs":[{"name":"x","shape":["1"],"datatype":"FP64","data":[1]}]}', "Expected `int`, got `str`"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":1}]}', "Expected `array`"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1e999]}]}', "out of range"),
        (b'{"id":5,"inputs":[]}', r"at `\$.id`"),
        (b'{"inputs":[{"name":"\xff"}]}', "utf-8"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":' + b"[" * 9999, "nested too deeply"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[' + b"9" * 9999 + b"]}]}", "body"),
    ],
)
def test_what_cannot_be_understood_is_placed(body: bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        decode_infer(body)


def test_feedback_comes_alone_or_in_a_batch() -> None:
    alone = decode_feedback(b'{"prediction":"a","value":5}')
    batch = decode_feedback(b'{"feedback":[{"prediction":"a","value":5},{"prediction":"b","value":"x","row":3}]}')
    assert alone == batch[:1]
    assert (batch[1].row, batch[1].time) == (3, None)
    with pytest.raises(RequestError, match="`prediction`"):
        decode_feedback(b"{}")
    with pytest.raises(RequestError, match="value"):
        decode_feedback(b'{"prediction":"a","value":null}')


def test_an_answer_that_is_not_finite_travels_as_null() -> None:
    output = OutputTensor("y", "FP64", (2,), [float("nan"), 1.0])
    answer = msgspec.json.decode(encode(InferResponse("m", "v1", "7", {}, [output])))
    assert answer["outputs"] == [{"name": "y", "datatype": "FP64", "shape": [2], "data": [None, 1.0]}]


def test_metadata_of_columns() -> None:
    assert tensor_metadata(Column("x", "string")) == TensorMetadata("x", "BYTES", [-1])
    assert tensor_metadata(Column("p", "float64"), 3) == TensorMetadata("p", "FP64", [-1, 3])
    assert tensor_metadata(Column("i", "float64", shape=(3, 8, 8))) == TensorMetadata("i", "FP64", [-1, 3, 8, 8])
