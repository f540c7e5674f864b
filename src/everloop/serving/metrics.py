"""What the server counts, in a registry of its own, for Prometheus to read."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from everloop.types import Plan

__all__ = ["Metrics", "VersionMetrics"]

_SECONDS = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5)
_EACH, _SLOW = 32, 0.1
"""One request in so many is shown as an exemplar, and each that takes so many seconds."""

_LABELS = ("model", "version", "variant")
Labels = tuple[str, str, str]
Shown = dict[tuple[Labels, str], Exemplar]
"""The newest exemplar of a version's bucket."""


class VersionMetrics:
    """The counters of one version in one role, looked up once a plan and not once a request."""

    __slots__ = ("_guards", "_labels", "_predictions", "_seconds", "_shown", "_until")

    def __init__(
        self,
        labels: Labels,
        predictions: Counter,
        seconds: Histogram,
        guards: Callable[[str, str], Counter],
        shown: Shown,
    ) -> None:
        self._labels, self._predictions, self._seconds, self._guards = labels, predictions, seconds, guards
        self._shown, self._until = shown, 0

    def answered(self, seconds: float, id: str) -> None:
        """Count an answer that took so long; now and then its prediction's id is kept as an exemplar."""
        self._predictions.inc()
        self._seconds.observe(seconds)
        if self._until and seconds < _SLOW:
            self._until -= 1
            return
        self._until = self._until or _EACH - 1
        self._shown[self._labels, _bucket(seconds)] = Exemplar({"prediction_id": id}, seconds, time.time())

    def guard(self, name: str, outcome: str) -> None:
        """Count a request that a guard `flagged` or `rejected`."""
        self._guards(name, outcome).inc()


class Metrics:
    """All counters of one server, or of one of its workers."""

    def __init__(self, shared: Path | None = None) -> None:
        """`shared` is a folder through which several workers count together; any of them shows the sum."""
        self._shared = shared
        self._shown: Shown = {}
        if shared:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._predictions = Counter(
            "everloop_predictions", "Requests answered and journalled.", _LABELS, registry=registry
        )
        self._seconds = Histogram(
            "everloop_prediction_seconds",
            "Seconds from the decoded request to the journalled answer.",
            _LABELS,
            registry=registry,
            buckets=_SECONDS,
        )
        self._guards = Counter(
            "everloop_guards",
            "Requests that a guard flagged or rejected.",
            (*_LABELS, "guard", "outcome"),
            registry=registry,
        )
        self._errors = Counter("everloop_errors", "Requests refused or failed.", ("status",), registry=registry)
        self.feedback = Counter("everloop_feedback", "Labels taken and journalled.", registry=registry)
        self.lookups = Histogram(
            "everloop_feature_lookup_seconds",
            "Seconds that an online feature store took to answer.",
            registry=registry,
            buckets=_SECONDS,
        )
        self.lookup_errors = Counter(
            "everloop_feature_lookup_errors", "Lookups that an online feature store did not answer.", registry=registry
        )
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
                values,
                self._predictions.labels(*values),
                self._seconds.labels(*values),
                partial(self._guards.labels, *values),
                self._shown,
            )
            for version, values in labels.items()
        }

    def error(self, status: int) -> None:
        """Count an answer that was an error."""
        self._errors.labels(str(status)).inc()

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page that Prometheus reads and its content type, in OpenMetrics where `accept` asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterable[Metric]:
        """Return all metrics, of all workers, with the exemplars of this one.

        The files through which workers count together hold no exemplars; a bucket's sum may show any worker's.
        """
        registry = self._registry
        if self._shared is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._shared))  # type: ignore[no-untyped-call]
        for metric in registry.collect():
            if metric.name == "everloop_prediction_seconds":
                metric.samples = [self._with_exemplar(sample) for sample in metric.samples]
            yield metric

    def _with_exemplar(self, sample: Sample) -> Sample:
        labels = sample.labels
        if "le" not in labels:
            return sample
        return sample._replace(exemplar=self._shown.get((tuple(labels[n] for n in _LABELS), labels["le"])))  # type: ignore[arg-type]


def _bucket(seconds: float) -> str:
    """Return the upper end of the bucket that a duration falls into, as Prometheus writes it."""
    place = bisect_left(_SECONDS, seconds)
    return str(floatToGoString(_SECONDS[place])) if place < len(_SECONDS) else "+Inf"  # type: ignore[no-untyped-call]
