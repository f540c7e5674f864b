"""TensorBoard's event files of a run: its curves and metrics, written whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from everloop.tracking.record import RunRecord

__all__ = ["write_events"]


def write_events(folder: Path, record: RunRecord) -> Path:
    """Write a run's scalars into the new folder `<folder>/<model>/<run>` and return it; one that is there stays."""
    place = folder / record.model / record.id
    if place.exists():
        return place
    from tensorboardX import SummaryWriter

    partial = folder.with_name(f".{folder.name}-partial") / record.id
    shutil.rmtree(partial, ignore_errors=True)
    time = record.started if record.finished is None else record.finished
    with SummaryWriter(str(partial), write_to_disk=True) as writer:
        for curve in record.curves:
            for step, value in zip(curve.steps, curve.values, strict=True):
                writer.add_scalar(f"loss/{curve.name}", value, step, walltime=time)
        for name, value in record.metrics.items():
            writer.add_scalar(f"metrics/{name}", value, 0, walltime=time)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(place)
    return place
