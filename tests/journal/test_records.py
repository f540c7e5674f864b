from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import JournalError
from everloop.journal.records import decode, encode
from everloop.types import Feedback, Prediction

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e300, 1e300) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    number=st.integers(1, 2**40), kind=st.text(), id=st.text(), time=st.floats(0, 1e12), payload=json_values,
    salt=st.binary(min_size=16, max_size=16),
)  # fmt: skip
def test_a_record_is_one_line_of_json_and_comes_back(
    number: int, kind: str, id: str, time: float, payload: object, salt: bytes
) -> None:
    line = encode(number, kind, id, time, msgspec.json.encode(payload), salt)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    record = decode(line)
    assert (record.number, record.kind, record.id, record.time) == (number, kind, id, time)
    assert json.loads(bytes(record.payload)) == payload
    assert record.verify()


def test_the_digest_is_salted_and_notices_a_change() -> None:
    first, second = (decode(encode(1, "k", "i", 1.0, b'{"a":1}')) for _ in range(2))
    assert first.salt != second.salt
    assert first.digest != second.digest
    changed = msgspec.structs.replace(first, payload=msgspec.Raw(b'{"a":2}'))
    assert not changed.verify()
    erased = msgspec.structs.replace(first, payload=msgspec.Raw(b"null"))
    assert not erased.verify()
    assert erased.digest == first.digest


def test_a_payload_is_read_as_its_struct() -> None:
    label = Feedback("p", 3.5, 9.0, row=2)
    record = decode(encode(1, "feedback", "p", 9.0, msgspec.json.encode(label)))
    assert record.read(Feedback) == label
    with pytest.raises(JournalError, match="journal record 1: its payload is no Prediction"):
        record.read(Prediction)


@pytest.mark.parametrize("line", [b"", b"{}\n", b"no json\n", b'{"n":"one"}\n'])
def test_a_line_that_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(JournalError, match="a line cannot be read"):
        decode(line, "here")
