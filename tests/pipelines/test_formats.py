from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.pipelines.formats import UnserialisableError, decode, encode


class Score(msgspec.Struct):
    name: str
    value: float


@dataclasses.dataclass
class Window:
    start: datetime.datetime
    rows: tuple[int, int]


def rides() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": pd.to_datetime(["2012-01-01", "2012-01-02", "NaT"], utc=True),
            "count": [1, 2, 3],
            "share": [0.1, float("nan"), -0.0],
            "kind": ["a", None, "ü"],
            "level": pd.Categorical(["low", "high", "low"], categories=["low", "high"]),
            "open": [True, False, True],
        },
        index=pd.Index([3, 1, 2], name="row"),
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60)
@given(JSON)
def test_plain_values_come_back(value: Any) -> None:
    format, data = encode(value)
    assert (format, decode(format, data)) == ("json", value)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Score("rmse", 1.5), Score),
        ([Score("rmse", 1.5)], list[Score]),
        (Window(datetime.datetime(2012, 5, 1, tzinfo=datetime.UTC), (1, 2)), Window),
        (None, pd.DataFrame | None),
        ((1, "a"), tuple[int, str]),
        ({1: 2}, dict[int, int]),
        (np.float64(0.5), float),
        ({"rows": np.int64(3)}, dict[str, int]),
    ],
)
def test_json_is_typed_by_its_annotation(value: Any, annotation: Any) -> None:
    format, data = encode(value, annotation)
    assert (format, decode(format, data, annotation)) == ("json", value)


def test_a_frame_comes_back_the_same() -> None:
    format, data = encode(rides())
    assert format == "parquet"
    pd.testing.assert_frame_equal(decode(format, data), rides())


def test_equal_frames_have_equal_bytes_however_they_were_made() -> None:
    frame = rides()
    pieces = pd.concat([frame.iloc[:1], frame.iloc[1:]])
    pieces["level"] = pieces["level"].astype(frame["level"].dtype)
    longer = pd.concat([frame, frame]).iloc[3:]
    assert encode(pieces) == encode(frame) == encode(frame.copy()) == encode(longer)
    _, data = encode(frame)
    assert encode(decode("parquet", data)) == ("parquet", data)


def test_arrays_come_back_and_their_order_does_not_count() -> None:
    arrays = {"file": np.arange(6.0).reshape(2, 3), "a": np.array(["x", "y"]), "empty": np.empty((0, 2), np.float32)}
    format, data = encode(arrays)
    assert format == "npz"
    assert encode(dict(reversed(arrays.items()))) == (format, data)
    back = decode(format, data)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_the_order_of_keys_does_not_count() -> None:
    assert encode({"a": 1, "b": 2}) == encode({"b": 2, "a": 1})


def test_bytes_stay_as_they_are() -> None:
    assert encode(b"\x00onnx") == ("bytes", b"\x00onnx")
    assert decode("bytes", b"\x00onnx") == b"\x00onnx"


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (object(), None, "a object cannot be stored .* return a DataFrame, a dict of numpy arrays, bytes"),
        (float("nan"), float, "a float does not survive JSON: .* write None for a number that is not finite"),
        ("text", float, "a str does not fit its annotation"),
        ({"a": float("inf")}, None, "a dict does not survive JSON: .* write None for a number that is not finite"),
        (Score("rmse", 1.0), None, "a Score does not survive JSON: annotate its exact type"),
        ((1, 2), None, "a tuple does not survive JSON"),
        ("text", int, "a str does not fit its annotation"),
        (1.5, int, "a float does not fit its annotation"),
        ({(1, 2): 3}, None, "a dict cannot be stored"),
        (pd.DataFrame({"a": [1, "x"]}), None, "a frame that Parquet cannot hold .* give each column one type"),
        ({"a": np.array([object()])}, None, "array 'a' holds Python objects: give it a numeric type"),
    ],
)
def test_what_would_not_come_back_is_refused(value: Any, annotation: Any, message: str) -> None:
    with pytest.raises(UnserialisableError, match=message):
        encode(value, annotation)
