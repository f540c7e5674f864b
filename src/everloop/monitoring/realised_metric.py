"""The realised metric of a window, and whether its loss rose: block CUSUM and adaptive windowing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.monitoring.window import Window
from everloop.statistics import Adwin, Cusum
from everloop.types import Signal

__all__ = ["LossAdwin", "LossCusum", "RealisedMetric"]

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats], dict[str, float]]


class _Labelled:
    """Holds the labelled rows of the open window: labels are late, so it is closed long after its traffic."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def _add(self, batch: Window) -> None:
        if batch.losses is not None:
            self.losses += batch.losses.tolist()

    def _mean(self) -> float:
        mean = float(np.mean(self.losses))
        self.losses = []
        return mean

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return {"losses": list(self.losses)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.losses = list(state["losses"])

    def merge(self, other: Any) -> None:
        """Add what another worker saw of the open window."""
        self.losses = self.losses + other.losses


class RealisedMetric:
    """`realised_metric`: the main metric of a window's labelled rows beside the out-of-time one; it never fires."""

    name = "realised_metric"

    def __init__(self, which: str, usual: float, metric: Metric) -> None:
        self._which, self._usual, self._metric = which, usual, metric
        self.truth: list[float] = []
        self.answers: list[list[float]] = []

    def update(self, batch: Window) -> Signal | None:
        """Take labelled rows; say their metrics when the window closes."""
        if batch.truth is not None and batch.answers is not None:
            self.truth += batch.truth.tolist()
            self.answers += batch.answers.tolist()
        if not batch.last or not self.truth:
            return None
        answers = np.asarray(self.answers)
        found = self._metric(np.asarray(self.truth), answers if answers.shape[1] > 1 else answers[:, 0])
        told = {"window": True, "metric": self._which, "labels": len(self.truth), "coverage": batch.coverage} | found
        self.truth, self.answers = [], []
        return Signal(self.name, batch.end, found[self._which], self._usual, False, batch.start, batch.end, told)

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return {"truth": list(self.truth), "answers": [list(a) for a in self.answers]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.truth, self.answers = list(state["truth"]), list(state["answers"])

    def merge(self, other: RealisedMetric) -> None:
        """Add what another worker saw of the open window."""
        self.truth, self.answers = self.truth + other.truth, self.answers + other.answers


class LossCusum(_Labelled):
    """`loss_cusum`: CUSUM on the windows' mean losses, standardised by the reference's."""

    name = "loss_cusum"

    def __init__(self, cusum: Cusum) -> None:
        super().__init__()
        self.cusum = cusum

    def update(self, batch: Window) -> Signal | None:
        """Take labelled rows; sum up when the window closes."""
        self._add(batch)
        if not batch.last or not self.losses:
            return None
        labels, loss = len(self.losses), self._mean()
        value, limit = self.cusum.take(loss), self.cusum.limit
        told = {"window": True, "loss": loss, "usual": self.cusum.mean, "labels": labels, "coverage": batch.coverage}
        return Signal(self.name, batch.end, value, limit, value >= limit, batch.start, batch.end, told)

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return super().state() | {"cusum": msgspec.to_builtins(self.cusum)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().restore(state)
        self.cusum = msgspec.convert(state["cusum"], Cusum)


class LossAdwin(_Labelled):
    """`loss_adwin`: adaptive windowing on the windows' mean losses; fires at the window in which it finds a rise."""

    name = "loss_adwin"

    def __init__(self, before: list[float]) -> None:
        """`before` are the mean losses of the reference's blocks, with which the window begins."""
        super().__init__()
        self.adwin = Adwin()
        for loss in before:
            self.adwin.take(loss)

    def update(self, batch: Window) -> Signal | None:
        """Take labelled rows; look for a change when the window closes."""
        self._add(batch)
        if not batch.last or not self.losses:
            return None
        loss = self._mean()
        cut = self.adwin.take(loss)
        rise = self.adwin.rise if cut else 0.0
        told = {"window": True, "loss": loss, "windows": len(self.adwin.values), "cuts": self.adwin.cuts}
        return Signal(self.name, batch.end, rise, 0.0, cut and rise > 0, batch.start, batch.end, told)

    def state(self) -> dict[str, Any]:
        """Return all that a restart needs."""
        return super().state() | {"adwin": msgspec.to_builtins(self.adwin)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().restore(state)
        self.adwin = msgspec.convert(state["adwin"], Adwin)
