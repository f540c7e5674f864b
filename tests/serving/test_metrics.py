from __future__ import annotations

from tests.serving.sites import rides_plan

from everloop.serving.metrics import Metrics


def test_each_version_is_counted_in_its_role() -> None:
    metrics = Metrics()
    versions = metrics.versions(rides_plan(1, 0.1))
    versions["v2"].predictions.inc()
    versions["v2"].seconds.observe(0.003)
    metrics.versions(rides_plan(2, champion="v2"))["v2"].predictions.inc()
    page = metrics.page().decode()
    assert 'everloop_predictions_total{model="rides",variant="candidate",version="v2"} 1.0' in page
    assert 'everloop_predictions_total{model="rides",variant="champion",version="v2"} 1.0' in page
    assert 'everloop_prediction_seconds_bucket{le="0.005",model="rides",variant="candidate",version="v2"} 1.0' in page


def test_two_servers_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.error(413)
    assert 'everloop_errors_total{status="413"} 1.0' in first.page().decode()
    assert 'status="413"' not in second.page().decode()
