"""A sealed journal: any change of a line is found, whatever is appended later, whoever was killed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.disks import append

from everloop.bundles import SigningKey, trusted
from everloop.errors import CheckError
from everloop.journal import Writer
from everloop.journal.records import decode, line
from everloop.journal.sealing import Report, seal, verify
from everloop.journal.segments import path_of, segments

NOW = 1_700_000_000.0


class Sealed:
    """A journal of eleven records in several segments, sealed behind the fourth and the ninth."""

    def __init__(self, folder: Path) -> None:
        self.journal, self.keys = folder / "journal", folder / "keys"
        self.key = SigningKey.create(self.keys)
        with contextlib.closing(Writer(self.journal, segment_bytes=900)) as writer:
            for number in range(11):
                writer.append("prediction", f"id-{number}", float(number), b'{"x":%d,"text":"aAb"}' % number)
                writer.flush()
                if number in (3, 8):
                    assert self.seal()
        self.lines = [
            line for s in segments(self.journal) for line in path_of(self.journal, s).read_bytes().split(b"\n")
        ]
        self.lines = [line + b"\n" for line in self.lines if line]

    def seal(self) -> object:
        return seal(self.journal, self.key, trusted(self.keys), NOW)

    def verify(self) -> Report:
        return verify(self.journal, trusted(self.keys))

    def write(self, lines: list[bytes]) -> None:
        """Put other lines in place of the journal's, in segments as long as they were."""
        rest = list(lines)
        for segment in segments(self.journal):
            path = path_of(self.journal, segment)
            count = path.read_bytes().count(b"\n") if segment != segments(self.journal)[-1] else len(rest)
            path.write_bytes(b"".join(rest[:count]))
            rest = rest[count:]


@contextlib.contextmanager
def sealed_journal() -> Iterator[Sealed]:
    folder = Path(tempfile.mkdtemp(prefix="everloop-sealed-"))
    try:
        yield Sealed(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def kept() -> Iterator[Sealed]:
    with sealed_journal() as sealed:
        yield sealed


@contextlib.contextmanager
def restored(sealed: Sealed) -> Iterator[None]:
    content = {path: path.read_bytes() for path in sealed.journal.glob("*.jsonl")}
    try:
        yield
    finally:
        for path, data in content.items():
            path.write_bytes(data)


def test_what_is_as_it_was_written_verifies(kept: Sealed) -> None:
    report = kept.verify()
    assert report.wrong is None
    assert (report.records, report.sealed, report.unsealed, report.sealed_at) == (11, 9, 2, NOW)
    assert (report.erased, report.old, report.dropped) == (0, 0, 0)


@settings(max_examples=300)
@given(data=st.data())
def test_any_changed_byte_is_found(kept: Sealed, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 10))
    place = data.draw(st.integers(0, len(kept.lines[number]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != kept.lines[number][place]))
    changed = kept.lines[number][:place] + bytes([byte]) + kept.lines[number][place + 1 :]
    with restored(kept):
        kept.write([*kept.lines[:number], changed, *kept.lines[number + 1 :]])
        if (number, place) == (10, len(kept.lines[10]) - 1):
            assert kept.verify().records == 10  # the very last line is one that is being written
            return
        wrong = kept.verify().wrong
        assert wrong
        assert wrong.number == number + 1
        assert path_of(kept.journal, wrong.segment).read_bytes()[wrong.offset :].startswith(changed.split(b"\n")[0])


@settings(max_examples=60)
@given(data=st.data())
def test_any_record_removed_added_or_moved_is_found(kept: Sealed, data: st.DataObject) -> None:
    lines = list(kept.lines)
    number = data.draw(st.integers(0, 9))
    how = data.draw(st.sampled_from(["remove", "repeat", "swap", "renumbered swap"]))
    if how == "remove":
        del lines[number]
    elif how == "repeat":
        lines.insert(data.draw(st.integers(0, 10)), lines[number])
    else:
        other = data.draw(st.integers(0, 10).filter(lambda n: n != number))
        lines[number], lines[other] = lines[other], lines[number]
        if how == "renumbered swap":  # digests fit and so do the numbers: only seals show it
            lines = [line(n, old.split(b",", 1)[1]) for n, old in enumerate(lines, 1)]
            if min(number, other) >= 9:
                return
    with restored(kept):
        kept.write(lines)
        wrong = kept.verify().wrong
        assert wrong
        assert wrong.number <= 11


def test_it_says_what_is_wrong(kept: Sealed) -> None:
    def told(lines: list[bytes]) -> str:
        with restored(kept):
            kept.write(lines)
            return str(kept.verify().wrong)

    good = kept.lines
    changed = good[4].replace(b'"x":4', b'"x":5')
    assert told([*good[:4], changed, *good[5:]]).endswith("its kind, id, time, salt, digest or payload was changed")
    assert told([*good[:4], *good[5:]]).endswith("missing: record 6 stands here, so it was removed or moved")
    assert told([*good[:4], *good[6:]]).endswith("missing to 6: record 7 stands here, so it was removed or moved")
    assert "out of order: record 3 stands here" in told([*good[:4], good[2], *good[4:]])
    assert "cannot be read" in told([*good[:4], b"hello\n", *good[5:]])
    assert "not in the form" in told([*good[:4], good[4].replace(b'"kind":', b'"kind": '), *good[5:]])
    assert "record 8 (segment" in told(good[:7])
    assert told(good[:7]).endswith("missing, and all up to record 9, which is sealed: the journal was cut")
    assert told([]).startswith("record 1 (segment")
    whole = decode(good[4])
    gone = msgspec.json.encode(msgspec.structs.replace(whole, salt="0" * 32, payload=msgspec.Raw(b"null"))) + b"\n"
    assert "its payload was removed, and no signed erasure names it" in told([*good[:4], gone, *good[5:]])


def test_a_record_made_anew_is_found_by_the_seal_alone(kept: Sealed) -> None:
    from everloop.journal.records import encode

    lines = list(kept.lines)
    old = decode(lines[5])
    lines[5] = line(6, encode(old.kind, old.id, old.time, b'{"x":5,"text":"bAb"}'))
    with restored(kept):
        kept.write(lines)
        assert "record 5" in str(kept.verify().wrong)
        assert "a record from here to 9 is not the one that was sealed" in str(kept.verify().wrong)
        kept.write([*lines[:9], lines[10]])
        with pytest.raises(CheckError, match="is not sealed: record"):
            kept.seal()


def test_cut_behind_the_newest_seal_is_refused_by_the_next(kept: Sealed) -> None:
    with restored(kept):
        kept.write(kept.lines[:7])
        with pytest.raises(CheckError, match="the journal ends here, before what was sealed: it was cut"):
            kept.seal()


def test_sealing_goes_on_where_it_was_and_a_writer_may_go_on(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path)
    assert sealed.seal()
    assert sealed.seal() is None
    with contextlib.closing(Writer(sealed.journal)) as writer:
        append(writer, "a", "b")
        assert sealed.seal()
        append(writer, "c")
        report = sealed.verify()
    assert (report.wrong, report.records, report.unsealed) == (None, 14, 1)


def test_an_empty_journal(tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "keys")
    assert seal(tmp_path / "journal", key, trusted(tmp_path / "keys"), NOW) is None
    report = verify(tmp_path / "journal", trusted(tmp_path / "keys"))
    assert (report.records, report.sealed, report.sealed_at, report.wrong) == (0, 0, None, None)


def test_records_whose_digest_covers_the_payload_alone_verify_and_are_counted(tmp_path: Path) -> None:
    import hashlib

    sealed = Sealed(tmp_path)
    path = path_of(sealed.journal, segments(sealed.journal)[-1])
    number, salt = decode(sealed.lines[-1]).number + 1, bytes(range(16))
    digest = hashlib.sha256(salt + b"{}").hexdigest()
    old = b'{"n":%d,"kind":"feedback","id":"a","time":1.0,"salt":"%b","digest":"%b","payload":{}}\n'
    with path.open("ab") as file:
        file.write(old % (number, salt.hex().encode(), digest.encode()))
    assert (sealed.verify().wrong, sealed.verify().old) == (None, 1)
    assert sealed.seal()
    path.write_bytes(path.read_bytes().replace(b'"id":"a"', b'"id":"b"'))
    assert "is not the one that was sealed" in str(sealed.verify().wrong)
