"""Parameters searched by Optuna: a study in a file of its own, which a later call goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from everloop.errors import UsageError
from everloop.settings import Search

__all__ = ["end_trial", "fits", "open_study", "suggested", "try_again"]


def open_study(file: Path, name: str, seed: int) -> Any:
    """Return the study of a name, as far as it has come.

    Once five have ended, a trial whose loss so far is above the median is pruned; new ones lean on all before.
    """
    optuna = _optuna()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file.parent.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(file)))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
    study = optuna.create_study(
        storage=storage, study_name=name, direction="minimize", pruner=pruner, load_if_exists=True
    )
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))  # not the same numbers once more
    return study


def try_again(study: Any, usual: Mapping[str, Any]) -> None:
    """Let trials that a killed call left half done begin anew; in a new study `usual` parameters come first."""
    state = _optuna().trial.TrialState
    if not study.trials:
        study.enqueue_trial(dict(usual))
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        study.tell(trial.number, state=state.FAIL)
        study.enqueue_trial(trial.params)


def suggested(trial: Any, searched: Mapping[str, Search]) -> dict[str, Any]:
    """Return the parameters of a trial."""
    found: dict[str, Any] = {}
    for name, told in searched.items():
        if told.values:
            found[name] = trial.suggest_categorical(name, list(told.values))
        elif _whole(told):
            found[name] = trial.suggest_int(name, told.min, told.max, step=told.step or 1, log=told.log)
        else:
            found[name] = trial.suggest_float(name, told.min, told.max, step=told.step, log=told.log)
    return found


def end_trial(study: Any, trial: Any, state: Literal["complete", "pruned", "fail"], loss: float | None) -> None:
    """Tell the study how a trial ended."""
    study.tell(trial.number, loss, state=_optuna().trial.TrialState[state.upper()])


def fits(value: Any, told: Search) -> bool:
    """Tell whether a value lies where a parameter is searched."""
    if told.values:
        return value in told.values
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or told.min is None or told.max is None or not told.min <= value <= told.max:
        return False
    steps = (value - told.min) / told.step if told.step else 0.0
    return abs(steps - round(steps)) < 1e-9 and (not _whole(told) or isinstance(value, int))


def _whole(told: Search) -> bool:
    return isinstance(told.min, int) and isinstance(told.max, int) and not isinstance(told.step, float)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UsageError("tuning is Optuna's: pip install 'everloop[tuning]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
