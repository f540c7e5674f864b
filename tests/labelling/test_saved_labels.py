"""Labels that a choice saves on real messages, as `bench/labels.py` counts them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "labels.py"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_uncertain_rows_save_labels_on_real_messages() -> None:
    spec = importlib.util.spec_from_file_location("bench_labels", BENCH)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    if not bench.DATA.is_file():
        pytest.skip("sms-spam is not on this machine")
    level, found = bench.saved(bench.curves(bench.messages(bench.DATA), ["mixed", "uncertainty"], seeds=3))
    assert 0.88 < level < 0.97
    for name in ("mixed", "uncertainty"):
        share = found[name].share
        assert share.mean() > 0.3, name
        assert share.min() > 0.1, name
