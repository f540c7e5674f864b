"""What the server counts, in a registry of its own, for Prometheus to read."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from everloop.types import Plan

__all__ = ["Metrics", "VersionMetrics"]

_SECONDS = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5)


class VersionMetrics:
    """The counters of one version in one role, looked up once a plan and not once a request."""

    __slots__ = ("_guards", "predictions", "seconds")

    def __init__(self, predictions: Counter, seconds: Histogram, guards: Callable[[str, str], Counter]) -> None:
        self.predictions, self.seconds, self._guards = predictions, seconds, guards

    def guard(self, name: str, outcome: str) -> None:
        """Count a request that a guard `flagged` or `rejected`."""
        self._guards(name, outcome).inc()


class Metrics:
    """All counters of one server, or of one of its workers."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, shared: Path | None = None) -> None:
        """`shared` is a folder through which several workers count together; any of them shows the sum."""
        self._shared = shared
        if shared:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        labels = ("model", "version", "variant")
        self._predictions = Counter(
            "everloop_predictions", "Requests answered and journalled.", labels, registry=registry
        )
        self._seconds = Histogram(
            "everloop_prediction_seconds",
            "Seconds from the decoded request to the journalled answer.",
            labels,
            registry=registry,
            buckets=_SECONDS,
        )
        self._guards = Counter(
            "everloop_guards",
            "Requests that a guard flagged or rejected.",
            (*labels, "guard", "outcome"),
            registry=registry,
        )
        self._errors = Counter("everloop_errors", "Requests refused or failed.", ("status",), registry=registry)
        self.feedback = Counter("everloop_feedback", "Labels taken and journalled.", registry=registry)
        self.plan_generation = Gauge(
            "everloop_plan_generation",
            "Generation of the plan that answers.",
            registry=registry,
            multiprocess_mode="max",
        )
        self.plan_errors = Counter("everloop_plan_errors", "Plans that could not be taken over.", registry=registry)
        self.journal_errors = Counter("everloop_journal_errors", "Appends that the journal refused.", registry=registry)

    def versions(self, plan: Plan) -> dict[str, VersionMetrics]:
        """Return the counters of each version of a plan."""
        labels = {v.version: (plan.model, v.version, v.role) for v in plan.variants}
        return {
            version: VersionMetrics(
                self._predictions.labels(*values),
                self._seconds.labels(*values),
                partial(self._guards.labels, *values),
            )
            for version, values in labels.items()
        }

    def error(self, status: int) -> None:
        """Count an answer that was an error."""
        self._errors.labels(str(status)).inc()

    def page(self) -> bytes:
        """Return the page that Prometheus reads."""
        if self._shared is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._shared))  # type: ignore[no-untyped-call]
        return generate_latest(registry)
