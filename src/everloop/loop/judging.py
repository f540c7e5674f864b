"""What a rollout is judged on: the rows of the journal in the words of its state machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from everloop.errors import UsageError
from everloop.loop.watch import ScoredRow, Watch
from everloop.monitoring import LabelledRow
from everloop.rollouts import RANDOMISED, Answered, Pair, RolloutRules, RolloutState, advance
from everloop.types import Task

__all__ = ["check_strategy", "judge", "labelled"]


def judge(
    rollout: RolloutState, rows: Sequence[ScoredRow], watch: Watch, now: float, rules: RolloutRules, task: Task
) -> list[LabelledRow]:
    """Advance a rollout by what is new; returns the new rows that both versions have a loss of, by the candidate's."""
    taking_part = [r for r in rows if r.time >= rollout.started]
    paired = [r for r in taking_part if rollout.champion in r.losses and rollout.candidate in r.losses]
    seen: Sequence[Pair | Answered] = (
        [_answered(r, rollout, rules, task) for r in taking_part if _drawn(r, rollout)]
        if rollout.randomised
        else [_pair(r, rollout, rules, task) for r in paired]
    )
    exposure = watch.exposure(rollout.candidate, rollout.started)
    advance(rollout, seen, watch.watermark, now, rules, exposure)
    if rules.affected:  # the candidate's own answers are all that there is
        paired = [r for r in taking_part if r.version == rollout.candidate]
    return [labelled(r, rollout.candidate) for r in paired]


def check_strategy(rules: RolloutRules) -> RolloutRules:
    """Return rules whose strategy can be judged; raises `UsageError` for pairs where the answer changes the label."""
    if rules.affected and rules.strategy not in RANDOMISED:
        raise UsageError(
            f"strategy {rules.strategy!r} cannot be judged: with [deployment] labels = 'affected' the answer changes "
            "the label, so name 'ab' or 'bandit'"
        )
    return rules


def labelled(row: ScoredRow, version: str) -> LabelledRow:
    """Return a row as the drift detector takes it."""
    return LabelledRow(row.time, row.truth, row.answers[version], row.losses[version])


def _drawn(row: ScoredRow, rollout: RolloutState) -> bool:
    return row.why in ("weight", "key") and row.version in (rollout.champion, rollout.candidate)


def _pair(row: ScoredRow, rollout: RolloutState, rules: RolloutRules, task: Task) -> Pair:
    champion, candidate = row.losses[rollout.champion], row.losses[rollout.candidate]
    groups, slices = _columns(row, rules)
    measures = (_measures(row, rollout.champion, task), _measures(row, rollout.candidate, task)) if groups else ((), ())
    return Pair(row.time, champion, candidate, slices, groups, measures)


def _answered(row: ScoredRow, rollout: RolloutState, rules: RolloutRules, task: Task) -> Answered:
    groups, slices = _columns(row, rules)
    return Answered(
        row.time,
        row.version == rollout.candidate,
        row.losses[row.version],
        row.propensity,
        alone=row.why == "weight" and row.first,
        key=row.key,
        values=slices,
        groups=groups,
        measures=_measures(row, row.version, task) if groups else (),
    )


def _columns(row: ScoredRow, rules: RolloutRules) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the values of the sensitive columns, and of the columns that slices are made of."""
    groups = {c: row.values[c] for c in rules.sensitive if c in row.values}
    return groups, {c: v for c, v in row.values.items() if rules.slices == "auto" or c in rules.slices}


def _measures(row: ScoredRow, version: str, task: Task) -> Sequence[float]:
    """Return what fairness compares: the loss, or whether the last class was selected and whether it was wrong."""
    if task == "regression":
        return (row.losses[version],)
    answer = row.answers[version]
    said = answer.index(max(answer))
    return (float(said == len(answer) - 1), float(said != row.truth))
