"""Erasure and retention: what is asked for is gone, all else is there, readers and writers go on, and it verifies."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.disks import append, read_all
from tests.journal.test_sealing import NOW, Sealed, sealed_journal

from everloop.bundles import trusted
from everloop.errors import CheckError, JournalError, UsageError
from everloop.journal import Reader, Writer
from everloop.journal.erasing import drop, erase_records, first_times
from everloop.journal.records import decode, encode, erase, line
from everloop.journal.seals import Erasure, add, alone, read
from everloop.journal.search import find
from everloop.journal.segments import end, path_of, segments


def erased(sealed: Sealed, *ids: str) -> Erasure | None:
    return erase_records(sealed.journal, sealed.key, trusted(sealed.keys), ids, "asked for", NOW)


@settings(max_examples=25)
@given(chosen=st.sets(st.integers(0, 10), min_size=1), twice=st.sets(st.integers(0, 10), min_size=1))
def test_what_was_asked_for_is_gone_and_all_else_verifies(chosen: set[int], twice: set[int]) -> None:
    with sealed_journal() as sealed:
        sizes = [path_of(sealed.journal, s).stat().st_size for s in segments(sealed.journal)]
        gone: set[int] = set()
        for ids in (chosen, twice):
            made = erased(sealed, *(f"id-{n}" for n in ids))
            assert (made is None) == (ids <= gone)
            assert made is None or {p.number - 1 for p in made.places} == ids - gone
            gone |= ids
            report = sealed.verify()
            assert (report.wrong, report.erased, report.unsealed) == (None, len(gone), 0)
        content = b"".join(path_of(sealed.journal, s).read_bytes() for s in segments(sealed.journal))
        for n, written in enumerate(sealed.lines):
            record = decode(written)
            kept = n not in gone
            assert (bytes(record.payload) in content, record.salt.encode() in content) == (kept, kept)
            assert record.digest.encode() in content
        assert [r.id for r in read_all(sealed.journal)] == [f"id-{n}" for n in range(11) if n not in gone]
        assert [path_of(sealed.journal, s).stat().st_size for s in segments(sealed.journal)] == sizes
        path = path_of(sealed.journal, segments(sealed.journal)[0])
        path.write_bytes(path.read_bytes().replace(b'"id":"id-0"', b'"id":"id-9"'))
        assert sealed.verify().wrong


def test_a_writer_and_a_reader_go_on(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path)
    with contextlib.closing(Writer(sealed.journal)) as writer, contextlib.closing(Reader(sealed.journal)) as reader:
        append(writer, "a", "b", "c")
        assert [r.id for r in reader.poll(12)][-1] == "a"
        assert erased(sealed, "b")
        append(writer, "d")
        assert "d" in [r.id for r in reader.poll()]
        assert [r.id for r in read_all(sealed.journal)][-3:] == ["a", "c", "d"]
        assert sealed.verify().wrong is None
    (record,) = find(sealed.journal, "b")
    assert record.erased
    with pytest.raises(JournalError, match="journal record 13: its payload was erased"):
        record.read(dict)


def test_an_erasure_that_was_cut_off_is_told_and_finished(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path)
    made = erased(sealed, "id-2", "id-5")
    assert made
    for place in made.places:
        path = path_of(sealed.journal, place.segment)
        whole, emptied = sealed.lines[place.number - 1], erase(sealed.lines[place.number - 1])
        content = path.read_bytes()
        for cut in range(0, len(whole), 7):
            torn = emptied[:cut] + whole[cut:]
            path.write_bytes(content[: place.offset] + torn + content[place.offset + len(torn) :])
            report = sealed.verify()
            assert (report.wrong is None) == (torn == emptied)
            assert torn == emptied or "its erasure was cut off" in str(report.wrong) or report.wrong
            sealed.seal()
            assert path.read_bytes() == content
            assert sealed.verify().wrong is None


def test_what_cannot_be_erased(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path)
    with pytest.raises(UsageError, match="an erasure needs a reason"):
        erase_records(sealed.journal, sealed.key, trusted(sealed.keys), {"id-1"}, " ", NOW)
    assert erased(sealed, "nobody") is None
    with pytest.raises(JournalError, match="shorter than null"):
        erase(line(1, encode("feedback", "a", 1.0, b"1")))
    path = path_of(sealed.journal, 1)
    path.write_bytes(path.read_bytes().replace(b'"x":1', b'"x":7'))
    with pytest.raises(CheckError, match=r"nothing is dropped from the journal .*: record 2 "):
        drop(sealed.journal, sealed.key, trusted(sealed.keys), 5.0, 99, NOW)


def test_the_ids_of_what_is_wanted(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path)
    assert first_times(sealed.journal, lambda r: r.time in (3.0, 10.0)) == {"id-3": 3.0, "id-10": 10.0}


def dropped(sealed: Sealed, before: float, needed: int = 99) -> int:
    made = drop(sealed.journal, sealed.key, trusted(sealed.keys), before, needed, NOW)
    return made.tip.number if made else 0


def test_old_segments_go_and_the_rest_verifies(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path)
    known = segments(sealed.journal)
    firsts = [decode(path_of(sealed.journal, s).read_bytes().split(b"\n")[0]).number for s in known]
    assert len(known) >= 3
    assert dropped(sealed, before=0.5) == 0
    assert dropped(sealed, before=100.0, needed=known[0]) == 0
    assert dropped(sealed, before=float(firsts[1]) - 0.5) == firsts[1] - 1
    report = sealed.verify()
    assert (report.wrong, report.dropped, report.records) == (None, firsts[1] - 1, 12 - firsts[1])
    assert erased(sealed, "id-1", "id-10")
    assert dropped(sealed, before=100.0) == firsts[-1] - 1  # the newest with records stays
    with contextlib.closing(Writer(sealed.journal)) as writer:
        append(writer, "next")
    report = sealed.verify()
    assert (report.wrong, report.records, report.tip.number) == (None, 13 - firsts[-1], 12)
    assert [r.id for r in read_all(sealed.journal)][-1] == "next"
    path_of(sealed.journal, segments(sealed.journal)[0]).unlink()
    assert "missing" in str(sealed.verify().wrong)


def test_a_drop_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path)
    content = {s: path_of(sealed.journal, s).read_bytes() for s in segments(sealed.journal)}
    assert dropped(sealed, before=100.0)
    for segment, data in content.items():
        path_of(sealed.journal, segment).write_bytes(data)
    assert sealed.verify().wrong is None
    sealed.seal()
    assert len(segments(sealed.journal)) == 1
    assert sealed.verify().wrong is None


def test_a_line_that_does_not_lie_where_it_was_erased_is_left_alone(tmp_path: Path) -> None:
    sealed = Sealed(tmp_path)
    made = erased(sealed, "id-1")
    assert made
    moved = [type(p)(p.number + 1, p.segment, p.offset, p.length) for p in made.places]
    with alone(sealed.journal):
        add(sealed.journal, sealed.key, Erasure(time=NOW, reason="x", ids=1, places=moved))
    before = path_of(sealed.journal, 1).read_bytes()
    with pytest.raises(JournalError, match="record 3 is not at byte"):
        sealed.seal()
    assert path_of(sealed.journal, 1).read_bytes() == before
    assert read(sealed.journal, trusted(sealed.keys)).newest.position == end(sealed.journal)
