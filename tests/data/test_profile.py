"""The figures of a profile are those of the table, and its page needs nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from everloop.data.comparing import compare
from everloop.data.profile import profile
from everloop.data.profile_page import render

N = 500


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a = rng.normal(size=N)
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=N, freq="h", tz="UTC"),
            "a": a,
            "<b>": rng.integers(0, 3, N).astype(float),
            "c": rng.choice(["x", "y", ""], N),
            "flag": rng.uniform(size=N) < 0.5,
            "none": np.nan,
            "y": 3 * a + rng.normal(size=N),
        }
    )
    frame.loc[0, "a"] = 1000.0
    frame.loc[1:10, "a"] = np.nan
    return frame


def test_the_figures_are_the_tables() -> None:
    frame, seen = table(), list[int]()
    found = profile(frame, "toy", "y", "time", lambda done, _: seen.append(done))
    columns = {c.name: c for c in found.columns}
    a = columns["a"]
    assert (a.missing, a.outliers, a.distinct) == (10, 1, N - 10)
    assert a.mean is not None
    assert abs(a.mean - frame["a"].mean()) < 1e-9
    assert abs(a.quantiles["0.5"] - frame["a"].median()) < 0.02
    assert sum(bar.value for bar in a.bars) == N - 10
    values = [bar.value for bar in a.target]
    assert values[-1] > values[0]
    assert [bar.name for bar in columns["<b>"].bars] == ["0", "1", "2"]
    assert {bar.name: bar.value for bar in columns["c"].bars} == dict(frame["c"][frame["c"] != ""].value_counts())
    assert columns["c"].missing == (frame["c"] == "").sum()
    assert columns["none"].missing == N
    assert (found.rows, found.duplicates, found.start, found.end) == (
        N,
        0,
        "2024-01-01T00:00:00Z",
        "2024-01-21T19:00:00Z",
    )
    assert found.longest_gap == 3600
    assert sum(bar.value for bar in found.coverage) == N
    place = found.numbers.index("a"), found.numbers.index("y")
    assert found.correlations[place[0]][place[1]] > 0.8
    assert seen == sorted(seen)
    assert profile(pd.concat([frame, frame]), "twice", "y", "time").duplicates == N


def test_a_class_is_shown_by_the_share_of_the_rarest() -> None:
    frame = table().assign(y=lambda f: np.where(f["a"] > 1, "rare", "usual"))
    found = profile(frame, "toy", "y", "time")
    assert found.shown == "share of y = rare"
    a = next(c for c in found.columns if c.name == "a")
    assert (a.target[0].value, a.target[-1].value) == (0.0, 1.0)


def test_the_page_is_whole_and_safe() -> None:
    frame = table()
    shifts = compare(frame, frame.assign(a=frame["a"] + 2), ["a", "c"])
    page = render(profile(frame, "toy <script>", "y", "time"), shifts, "data-1", ["look & see"])
    assert not re.search(r"<script|https?://|src=|@import|url\(", page)
    assert "&lt;b&gt;" in page
    assert "look &amp; see" in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<section") == len(frame.columns)
    opened = _Tags()
    opened.feed(page)
    assert opened.left == []


class _Tags(HTMLParser):
    """Keeps the elements that are opened and must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[str] = []

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        if tag in ("svg", "div", "section", "table", "dl", "main", "rect", "text", "title"):
            self.left.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("svg", "div", "section", "table", "dl", "main", "rect", "text", "title"):
            assert self.left.pop() == tag
