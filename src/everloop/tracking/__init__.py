"""What a run records: parameters, metrics, curves, tags, files, plots; TensorBoard's event files."""

from everloop.tracking.plots import plots
from everloop.tracking.record import Curve, DataUsed, Judged, Loader, RunRecord, read_run, system_metrics
from everloop.tracking.tensorboard import write_events

__all__ = ["Curve", "DataUsed", "Judged", "Loader", "RunRecord", "plots", "read_run", "system_metrics", "write_events"]
