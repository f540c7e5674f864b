from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from everloop.data.findings import Findings
from everloop.data.quarantine import ROWS, drop, get, listed, put
from everloop.data.validation import Fault
from everloop.errors import NotFoundError

FAULTS = [
    Fault("a", "column 'a' is less than 0 in rows 2, 4 (2 in all): '-1'", (1, 3)),
    Fault("b", "column 'b' goes back in row 4: '7'", (3,)),
]


def test_a_delivery_is_kept_with_the_reasons_of_each_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, -1, 2, -3], "b": [1, 8, 9, 7]})
    original = tmp_path / "new.csv"
    original.write_text("what came")
    place, found = tmp_path / "quarantine", Findings.of(FAULTS, frame)
    first = put(place, "new.csv", found, source="s3://new.csv", time=5.0, original=original)
    assert (first.rows, first.bad, first.file) == (4, 2, "new.csv")
    assert not original.exists()
    rows = pd.read_csv(place / first.id / ROWS)
    assert rows.to_dict("list") == {
        "row": [2, 4],
        "reasons": ["column 'a' is less than 0", "column 'a' is less than 0; column 'b' goes back"],
        "a": [-1, -3],
        "b": [8, 7],
    }
    original.write_text("what came")
    again = put(place, "new.csv", found, source="s3://new.csv", time=9.0, original=original)
    assert again.id == first.id
    assert listed(place) == [again]
    assert (get(place, first.id)[1] / "new.csv").read_text() == "what came"
    drop(place, first.id)
    assert listed(place) == []
    with pytest.raises(NotFoundError, match="no quarantined delivery 'q-1'"):
        get(place, "q-1")
