from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import JournalError
from everloop.journal.records import decode, encode, line
from everloop.types import Feedback

TIME = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TIME | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SALT = bytes(16)


@given(number=st.integers(1, 2**60), kind=st.text(), id=st.text(), time=TIME, value=JSON)
def test_a_record_comes_back_as_it_was(number: int, kind: str, id: str, time: float, value: Any) -> None:
    payload = msgspec.json.encode(value)
    written = line(number, encode(kind, id, time, payload))
    assert (written[-1:], written.count(b"\n")) == (b"\n", 1)
    record = decode(written)
    assert (record.number, record.kind, record.id, record.time) == (number, kind, id, time)
    assert bytes(record.payload) == payload
    assert record.verify()


def test_a_line_is_plain_json() -> None:
    written = json.loads(line(3, encode("feedback", "a", 1.5, b'{"x":1}', SALT)))
    digest = written.pop("digest")
    assert len(bytes.fromhex(digest)) == 32
    assert written == {"n": 3, "kind": "feedback", "id": "a", "time": 1.5, "salt": SALT.hex(), "payload": {"x": 1}}


def test_equal_payloads_cannot_be_told_from_their_digests() -> None:
    first, second = (decode(line(1, encode("feedback", "a", 1.0, b"{}"))) for _ in range(2))
    assert first.digest != second.digest


@pytest.mark.parametrize(
    "changed", [{"payload": msgspec.Raw(b"[2]")}, {"payload": msgspec.Raw(b"null")}, {"salt": "00"}, {"salt": "no"}]
)
def test_a_changed_record_does_not_verify(changed: dict[str, Any]) -> None:
    record = decode(line(1, encode("feedback", "a", 1.0, b"[1]")))
    assert not msgspec.structs.replace(record, **changed).verify()


@pytest.mark.parametrize(
    ("id", "time", "payload", "reason"),
    [
        ("a", float("nan"), b"{}", "its time is nan"),
        ("a", float("inf"), b"{}", "its time is inf"),
        ("a", 1.0, b'{"a":\n1}', "its payload has two lines"),
        ("a", 1.0, b"", "truncated"),
        ("a", 1.0, b'{"a":1', "truncated"),
        ("a", 1.0, b"{}{}", "trailing characters"),
        ("\ud800", 1.0, b"{}", "surrogates not allowed"),
    ],
)
def test_what_no_reader_could_read_is_not_written(id: str, time: float, payload: bytes, reason: str) -> None:
    with pytest.raises(JournalError, match=rf"the record '.*' \(prediction\) cannot be journalled: .*{reason}"):
        encode("prediction", id, time, payload)


def test_a_cut_line_is_no_record() -> None:
    written = line(12, encode("feedback", "a", 1.0, b'{"x":"\\u00e4"}', SALT)).rstrip()
    for size in range(len(written)):
        with pytest.raises(JournalError, match=r"^journal here: a line cannot be read: .*; restore the segment"):
            decode(written[:size], "here")


@given(st.binary(max_size=60))
def test_any_other_bytes_are_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(JournalError, match="a line cannot be read"):
        decode(data)


def test_text_that_is_no_utf8_and_endless_nesting_are_refused() -> None:
    with pytest.raises(JournalError, match="a line cannot be read"):
        decode(line(1, b'"kind":"\xff"}'))
    with pytest.raises(JournalError, match="a line cannot be read"):
        decode(line(1, b'"kind":' + b"[" * 100_000))


def test_a_payload_is_read_as_its_type() -> None:
    feedback = Feedback("p", 3.0, 2.0)
    record = decode(line(7, encode("feedback", "a", 1.0, msgspec.json.encode(feedback))))
    assert record.read(Feedback) == feedback
    with pytest.raises(JournalError, match=r"journal record 7: its payload is no Feedback: .* `prediction`"):
        decode(line(7, encode("feedback", "a", 1.0, b"{}"))).read(Feedback)
