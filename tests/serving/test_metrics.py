from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.serving.sites import rides_plan

from everloop.serving.metrics import Metrics


def test_each_version_is_counted_in_its_role() -> None:
    metrics = Metrics()
    versions = metrics.versions(rides_plan(1, 0.1))
    versions["v2"].answered(0.003, "a")
    metrics.versions(rides_plan(2, champion="v2"))["v2"].answered(0.2, "b")
    page = metrics.page()[0].decode()
    assert 'everloop_predictions_total{model="rides",variant="candidate",version="v2"} 1.0' in page
    assert 'everloop_predictions_total{model="rides",variant="champion",version="v2"} 1.0' in page
    assert 'everloop_prediction_seconds_bucket{le="0.005",model="rides",variant="candidate",version="v2"} 1.0' in page


def test_two_servers_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.error(413)
    assert 'everloop_errors_total{status="413"} 1.0' in first.page()[0].decode()
    assert 'status="413"' not in second.page()[0].decode()


ASKED = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def exemplars(page: str) -> dict[str, str]:
    """Return the prediction id that each bucket of the latency shows."""
    parsed = text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    samples = families["everloop_prediction_seconds"].samples
    return {s.labels["le"]: s.exemplar.labels["prediction_id"] for s in samples if s.exemplar}


def test_one_request_in_32_and_each_slow_one_is_an_exemplar() -> None:
    metrics = Metrics()
    counted = metrics.versions(rides_plan(1))["v1"]
    for number in range(40):
        counted.answered(0.003 if number < 32 else 0.0003, f"p-{number}")
    counted.answered(0.3, "slow")
    counted.answered(9.0, "slowest")
    page, content_type = metrics.page(ASKED)
    assert content_type.startswith("application/openmetrics-text")
    assert exemplars(page.decode()) == {"0.005": "p-0", "0.0005": "p-32", "0.5": "slow", "+Inf": "slowest"}
    plain, content_type = metrics.page("text/plain")
    assert content_type.startswith("text/plain")
    assert b"p-0" not in plain


def test_a_worker_shows_its_own_exemplars_on_the_sum_of_all(tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from everloop.serving.metrics import Metrics
from everloop.types import Plan, Variant
plan = Plan(generation=1, model="rides", variants=(Variant("v1", "b", "champion", 1.0),))
shared = Path({str(tmp_path)!r})
child = os.fork()
counted = Metrics(shared)
counted.versions(plan)["v1"].answered(0.003, "child" if child == 0 else "parent")
if child:
    os.waitpid(child, 0)
    sys.stdout.write(counted.page({ASKED!r})[0].decode())
"""
    page = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert exemplars(page) == {"0.005": "parent"}
    assert 'everloop_predictions_total{model="rides",variant="champion",version="v1"} 2.0' in page
