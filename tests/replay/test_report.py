from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everloop.replay.report import Series, render, write

SUMMARY: dict[str, Any] = {
    "metric": "rmse", "rmse": {"frozen": 5.0, "loop": 3.0}, "predictions": {"sent": 100, "failed": 0},
    "data": {"origin": "simulated"},
    "alternatives": [{"name": "frozen", "rmse": 5.0, "retrainings": 0, "window": "start"}],
    "versions": [
        {"id": "v1", "data_version": "data-1", "window": {"name": "<everything>"}, "stage": "production",
         "metrics": {"rmse": 3.0}, "gates": {"reason": "no champion yet & <b>fine</b>"}}
    ],
    "retrainings": [],
}  # fmt: skip
RETRAINED = {"time": "2024-01-03T00:00:00Z", "version": "v2", "reason": "drift", "verdict": "promoted", "because": "x"}


def series(rows: int = 100) -> Series:
    times = np.linspace(1_704_000_000.0, 1_704_000_000.0 + 3600.0 * (rows - 1), rows, dtype=np.float64)
    losses = {"frozen": np.full(rows, 25.0), "loop": np.full(rows, 9.0)}
    return Series(times, losses, ["v1"] * (rows // 2) + ["v2"] * (rows - rows // 2), "rmse")


@pytest.mark.parametrize("retrainings", [[], [RETRAINED]], ids=["none", "one"])
def test_a_page_needs_nothing_else(retrainings: list[dict[str, Any]]) -> None:
    signals = [{"name": "realised_loss", "time": 1_704_100_000.0, "value": 3.0, "threshold": 365.0}]
    files = {
        path.name: content
        for path, content in render("T", SUMMARY | {"retrainings": retrainings}, series(), signals).items()
    }
    page = files["report.html"].decode()
    assert page.count("<svg") == 3
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    assert ("no retraining was needed" in page) is (not retrainings)
    assert "simulated" in page
    assert files["error.png"].startswith(b"\x89PNG")


def test_what_a_version_is_called_cannot_break_the_page() -> None:
    page = render("<T>", SUMMARY, series(), [])
    text = next(content.decode() for path, content in page.items() if path.name == "report.html")
    assert "<b>fine</b>" not in text
    assert "&lt;everything&gt;" in text
    assert "<title>&lt;T&gt;</title>" in text


def test_one_row_is_enough(tmp_path: Path) -> None:
    write(tmp_path / "out", "T", SUMMARY, series(2), [])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["error.png", "report.html", "summary.json"]
