"""Tunings in MLflow: a call is a run, its trials are runs nested in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from everloop.tracking import system_metrics

__all__ = ["TuningRuns"]

TRIAL = "everloop.trial"
ENDS = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED"}
LONGEST = 5000


class TuningRuns:
    """What the outbox tells of tunings, brought to a tracking server; an entry may come again at any point."""

    def __init__(self, client: Any, experiment: Callable[[], str], found: Callable[[str, str], Any]) -> None:
        """`found` returns the run that a tag has a value of, or None."""
        self._client, self._experiment, self._found = client, experiment, found

    def take_tuning(self, told: dict[str, Any]) -> None:
        """Bring how a call stands: begun, ended, or found to have been killed."""
        if told["status"] == "killed":
            run = self._found("everloop.run", told["id"])
            if run is not None and run.info.status == "RUNNING":
                self._client.set_terminated(run.info.run_id, "KILLED", _ms(told["time"]))
            return
        run = self._call(told["id"], told)
        if told["status"] == "finished" and run.info.status == "RUNNING":
            self._end(run.info.run_id, told)

    def take_trial(self, told: dict[str, Any]) -> None:
        """Bring a trial that ended."""
        name = f"{told['study']}/{told['number']}"
        run = self._found(TRIAL, name)
        if run is None:
            parent = self._call(told["id"], told)
            tags = {TRIAL: name, "everloop.study": told["study"], "mlflow.parentRunId": parent.info.run_id}
            run = self._client.create_run(
                self._experiment(), start_time=_ms(told["started"]), run_name=f"trial {told['number']}", tags=tags
            )
        if run.info.status != "RUNNING":
            return
        id, time = run.info.run_id, _ms(told["time"])
        metrics = [Metric("loss", value, time, place) for place, value in enumerate(told["losses"])]
        metrics += [Metric(name, value, time, 0) for name, value in system_metrics(told.get("usage")).items()]
        said = {"everloop.state": told["state"], "everloop.reason": told["reason"][:LONGEST]}
        self._client.log_batch(id, metrics=metrics, params=_params(told["parameters"]), tags=_tags(said))
        self._client.set_terminated(id, ENDS[told["state"]], time)

    def _call(self, id: str, told: dict[str, Any]) -> Any:
        """Return the run of a call; reading its data may have made it already."""
        name = f"tuning {told['study']}"
        run = self._found("everloop.run", id)
        if run is None:
            tags = {"everloop.run": id, "everloop.study": told["study"]}
            run = self._client.create_run(self._experiment(), start_time=_ms(told["started"]), run_name=name, tags=tags)
        if run.info.run_name != name:
            self._client.update_run(run.info.run_id, name=name)
        return run

    def _end(self, id: str, told: dict[str, Any]) -> None:
        found, time = told["found"], _ms(told["time"])
        losses = {"loss": found["best"]["loss"], "loss_before": (found["before"] or {}).get("loss")}
        counts = {name: found[name] for name in ("complete", "pruned", "failed", "rows")}
        metrics = [Metric(name, float(v), time, 0) for name, v in (losses | counts).items() if v is not None]
        tags = _tags({f"everloop.{name}": told[name] for name in ("study", "data_version", "model")})
        self._client.log_batch(id, metrics=metrics, params=_params(found["best"]["parameters"]), tags=tags)
        self._client.set_terminated(id, "FINISHED", time)


def _params(parameters: dict[str, Any]) -> list[Any]:
    return [Param(name, str(value)[:LONGEST]) for name, value in parameters.items()]


def _tags(told: dict[str, str]) -> list[Any]:
    return [RunTag(name, value) for name, value in told.items() if value]


def _ms(time: float) -> int:
    return round(time * 1000)
