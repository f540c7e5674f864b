"""Writers killed under load in every mode, while others seal and erase: nothing acknowledged is lost, all verifies."""

from __future__ import annotations

import random
from pathlib import Path
from typing import get_args

import pytest
from tests.journal.disks import read_all
from tests.journal.test_writer import killed

from everloop.bundles import SigningKey, trusted
from everloop.journal import Mode
from everloop.journal.erasing import erase_records
from everloop.journal.sealing import seal, verify
from everloop.journal.segments import segments

NOW = 1_700_000_000.0


@pytest.mark.parametrize("mode", get_args(Mode))
def test_kill_9_under_load(mode: Mode, tmp_path: Path) -> None:
    journal, keys = tmp_path / "journal", tmp_path / "keys"
    key, rng = SigningKey.create(keys), random.Random(mode)
    acknowledged: list[str] = []
    gone: set[str] = set()
    most = 6000 if mode == "buffered" else 400  # some of which take longer than the 20 ms of a buffer
    for round in range(5):
        moments = sorted(rng.randrange(1, most) for _ in range(3))
        for number, id in enumerate(killed(journal, mode, round, moments[-1]), 1):
            acknowledged.append(id)
            if number == moments[0]:  # while the process writes
                seal(journal, key, trusted(keys), NOW)
            elif number == moments[1]:
                chosen = {rng.choice(acknowledged)}
                gone |= chosen if erase_records(journal, key, trusted(keys), chosen, "asked", NOW) else set()
        report = verify(journal, trusted(keys))
        assert report.wrong is None
        assert report.records == report.tip.number
        assert report.erased == len(gone)
    found = [record.id for record in read_all(journal)]
    assert len(set(found)) == len(found) == report.records - len(gone)
    assert len(segments(journal)) >= 5
    if mode == "buffered":  # what was acknowledged in the last moment before a kill may be lost, nothing before it
        assert len(set(acknowledged) & set(found)) > len(acknowledged) / 2
        for producer in {id.rpartition("-")[0] for id in found}:
            kept = {int(id.rpartition("-")[2]) for id in [*found, *gone] if id.rpartition("-")[0] == producer}
            assert kept == set(range(1, len(kept) + 1))
    else:
        assert set(acknowledged) <= {*found, *gone}
