"""What to train on: everything, unless what leans on the newest rows is better beyond doubt.

Every recipe is scored where it matters: fitted at several past origins, judged on the block of event time that
follows each (rolling-origin evaluation), the newest one in parts, since a change may lie within it. The default is kept
unless a rival's loss is lower by more than chance explains, since on other streams the naive choice loses. How far back
one should look for that nobody knows: a change makes the past useless, without one it is all evidence. So it is looked
at over several spans, with a level for all of them together (after the adaptive-window tournament of Han, Huang and
Wang 2024). Everything scored is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.errors import UsageError
from everloop.settings import seconds
from everloop.statistics import LevelRules, apply_level, block_means, fit_level, levelled
from everloop.training.team import TIME_INDEX
from everloop.types import Task

__all__ = [
    "Choice",
    "Problem",
    "Recipe",
    "Trained",
    "before_judged",
    "choose",
    "fit_recipe",
    "fixed",
    "losses_after",
    "newest_horizons",
    "past_origins",
]

Floats = NDArray[np.float64]
Member = Literal["everything", "half", "time", "level", "rows", "span", "horizons"]


class Recipe(msgspec.Struct, frozen=True):
    """A named mean of members; `amount` is what `rows` (a count), `span` (seconds) and `horizons` take."""

    name: str
    members: tuple[Member, ...]
    amount: float = 0.0


EVERYTHING = Recipe("everything", ("everything",))
TEAM = Recipe("team", ("half", "time", "level"))
"""Mean of: the newest half; everything with a time index held at now; everything corrected by the newest level."""
NEWEST = tuple(Recipe(f"newest {n} horizon{'s' if n > 1 else ''}", ("horizons",), float(n)) for n in (0.5, 1, 2, 4))
AUTO = (EVERYTHING, TEAM, *NEWEST)
LOOKS = (4.0, 1.0, 0.5, 0.25)
"""Over how many of the newest horizons losses are compared."""
FEWEST, PARTS, BLOCKS = 4, 4, 4
"""Blocks that a comparison needs at least, the fits of the newest horizon, and the horizons that are judged."""
JUDGED = 100
"""Rows that are judged at least: a few labels in a fortnight would tell nothing."""


class Problem(msgspec.Struct, frozen=True):
    """What the fits share. `loss(truth, answers)` gives one value a row; `build()` an unfitted estimator."""

    task: Task
    inputs: tuple[str, ...]
    target: str
    classes: tuple[Any, ...]
    build: Callable[[], Any]
    loss: Callable[[NDArray[Any], Floats], Floats]
    horizon: float
    """Event time that a model has to hold, in seconds: the length of an evaluation block and of a level's memory."""
    block: float = 86400.0
    level: LevelRules | None = None
    """How answers are corrected once they serve; None where they are not."""
    gap: float = 0.0
    """Event time before each judged block whose rows no fit sees, in seconds."""

    def truth(self, rows: pd.DataFrame) -> NDArray[Any]:
        """Return the target: its value, or the index of its class."""
        if self.task == "regression":
            return rows[self.target].to_numpy(dtype=np.float64)
        index = {value: i for i, value in enumerate(self.classes)}
        return np.asarray([index[value] for value in rows[self.target]], dtype=np.int64)

    def served(self, times: Floats, truth: NDArray[Any], answers: Floats) -> Floats:
        """Return out-of-time answers (times ascending) as they would be served: corrected, where they are."""
        return answers if self.level is None else levelled(self.level, times, truth, answers)


class Part(msgspec.Struct, frozen=True):
    """One fitted member of a trained recipe."""

    estimator: Any
    level: Floats | None = None
    time_index: float | None = None


class Trained(msgspec.Struct, frozen=True):
    """A fitted recipe: `answers` is the mean of its parts."""

    recipe: Recipe
    parts: tuple[Part, ...]
    problem: Problem

    def answers(self, rows: pd.DataFrame) -> Floats:
        """Return predictions of shape (rows,), or probabilities of shape (rows, classes)."""
        mean: Floats = np.mean([_answers(self.problem, part, rows) for part in self.parts], axis=0)
        return mean


class Choice(msgspec.Struct, frozen=True):
    """The chosen recipe, what every recipe lost out of time, and the chosen one's out-of-time answers."""

    recipe: Recipe
    reason: str
    scores: dict[str, dict[str, float]]
    rows: tuple[int, ...]
    """Positions of the evaluated rows in the training table, oldest first."""
    answers: Floats
    baseline: tuple[float, ...]
    """Means of the chosen recipe's out-of-time losses by block of event time."""
    blocks: dict[str, tuple[float, ...]] = {}
    """The same of every recipe, by its name: what was compared."""


def newest_horizons(window: Mapping[str, Any]) -> float:
    """Return of how many of the newest horizons a version's rows are, where the choice fell on only those; else 0."""
    recipe = window.get("recipe") or {}
    return float(recipe["amount"]) if tuple(recipe.get("members", ())) == ("horizons",) else 0.0


def fixed(window: str) -> Recipe | None:
    """Return the recipe of a fixed `window` setting (`all`, `4000`, `90d`), None for `auto`."""
    if window == "auto":
        return None
    if window == "all":
        return EVERYTHING
    if window.isdigit():
        return Recipe(f"newest {window} rows", ("rows",), float(window))
    return Recipe(f"newest {window}", ("span",), seconds(window))


def choose(
    problem: Problem,
    rows: pd.DataFrame,
    times: Floats,
    recipes: Sequence[Recipe] = AUTO,
    *,
    blocks: int = BLOCKS,
    alpha: float = 0.05,
    progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """Return the choice among `recipes` (the first is the default) on the newest `blocks` horizons of `rows`.

    Times in which nothing happened for more than a horizon are left out.

    A rival replaces the default only where, over one of several spans that end now, the paired difference of their
    block losses is beyond a one-sided `alpha` over the number of rivals and spans (Bonferroni); of several, the one
    with the least loss over the newest horizon.
    """
    times = _active(times, problem.horizon, problem.block)
    origins = _origins(problem, times, blocks, PARTS if len(recipes) > 1 else 1)
    fits = _Fits(problem, rows, times)
    evaluated: list[NDArray[np.intp]] = []
    starts: list[float] = []
    if times[0] == times[-1] and len(times) > 1:
        raise UsageError(
            "[data] time is the same in all rows, and models are judged on rows that are newer than those of a fit: "
            "name another column, or drop that line where there is no time"
        )
    if len(times) < 3:
        raise UsageError(
            f"[data] source gives {len(times)} row(s), and a fit and its judgement need 3 at least: add more"
        )
    if fits.count(origins[0][0] - problem.gap) < 2:
        raise UsageError("[training] gap leaves no rows to fit on before the first block that is judged: shorten it")
    found: dict[str, list[Floats]] = {r.name: [] for r in recipes}
    for count, (origin, stop) in enumerate(origins):
        inside = np.flatnonzero((times > origin) & (times <= stop))
        if not len(inside):
            continue
        evaluated.append(inside)
        starts.append(origin)
        for recipe in recipes:
            trained = fit_recipe(problem, rows, times, recipe, origin - problem.gap, fits)
            found[recipe.name].append(trained.answers(rows.iloc[inside]))
        if progress:
            progress(count + 1, len(origins))
    answers = {name: np.concatenate(parts) for name, parts in found.items()}
    place = np.concatenate(evaluated)
    means = {name: _block_losses(problem, rows.iloc[place], times[place], a, starts) for name, a in answers.items()}
    ages = _block_ages(problem, times[place], starts)
    chosen, reason, scores = _compare(recipes, means, ages / problem.horizon, alpha)
    return Choice(
        chosen,
        reason,
        scores,
        tuple(int(i) for i in place),
        answers[chosen.name],
        tuple(means[chosen.name].tolist()),
        {name: tuple(found.tolist()) for name, found in means.items()},
    )


def before_judged(problem: Problem, times: Floats) -> int:
    """Return how many of the oldest rows `choose` judges no recipe on, and every fit of it may see."""
    active = _active(times, problem.horizon, problem.block)
    first = min(_origins(problem, active, BLOCKS, parts)[0][0] for parts in (1, PARTS))
    return int(np.searchsorted(active, first - problem.gap, "right"))


def past_origins(problem: Problem, times: Floats) -> list[tuple[float, float]]:
    """Return the ends of the fits that `choose` makes of one recipe, and of what each is judged on, oldest first."""
    return _origins(problem, _active(times, problem.horizon, problem.block), BLOCKS, 1)


def losses_after(
    problem: Problem, rows: pd.DataFrame, times: Floats, recipe: Recipe, span: tuple[float, float]
) -> Floats:
    """Return the losses by block, on the rows of one of `past_origins`, of a recipe that is fitted on those before."""
    times, (origin, stop) = _active(times, problem.horizon, problem.block), span
    inside = np.flatnonzero((times > origin) & (times <= stop))
    if not len(inside):
        return np.empty(0)
    answers = fit_recipe(problem, rows, times, recipe, origin - problem.gap).answers(rows.iloc[inside])
    return _block_losses(problem, rows.iloc[inside], times[inside], answers, [origin])


def _block_losses(
    problem: Problem, rows: pd.DataFrame, times: Floats, answers: Floats, starts: Sequence[float]
) -> Floats:
    """Return the mean losses by block of the answers as they would have been served; blocks begin at each origin."""
    truth = problem.truth(rows)
    return _by_block(problem, times, problem.loss(truth, problem.served(times, truth, answers)), starts)


def _block_ages(problem: Problem, times: Floats, starts: Sequence[float]) -> Floats:
    """Return how long ago the rows of each block were, in seconds."""
    return _by_block(problem, times, float(times[-1]) - times, starts)


def _by_block(problem: Problem, times: Floats, values: Floats, starts: Sequence[float]) -> Floats:
    parts = zip(starts, [*starts[1:], math.inf], strict=True)
    inside = [((times > start) & (times <= stop), start) for start, stop in parts]
    return np.concatenate([block_means(times[here], values[here], problem.block, start) for here, start in inside])


def fit_recipe(
    problem: Problem, rows: pd.DataFrame, times: Floats, recipe: Recipe, origin: float, fits: _Fits | None = None
) -> Trained:
    """Fit a recipe on the rows up to the time `origin`."""
    fits = fits or _Fits(problem, rows, times)
    return Trained(recipe, tuple(_part(problem, fits, member, recipe, origin) for member in recipe.members), problem)


class _Fits:
    """Remembers fitted estimators: members of different recipes and origins share them."""

    def __init__(self, problem: Problem, rows: pd.DataFrame, times: Floats) -> None:
        self.problem, self.rows, self.times = problem, rows, times
        self._known: dict[tuple[int, int, bool], Any] = {}

    def fit(self, first: int, last: int, time_index: bool = False) -> Any:
        """Return an estimator fitted on rows `first` to `last` (exclusive)."""
        key = (first, last, time_index)
        if key not in self._known:
            rows = self.rows.iloc[first:last]
            features = rows[list(self.problem.inputs)]
            if time_index:
                features = features.assign(**{TIME_INDEX: self.times[first:last] / 86400.0})
            self._known[key] = self.problem.build().fit(features, rows[self.problem.target])
        return self._known[key]

    def count(self, until: float) -> int:
        """Return how many rows lie at or before a time."""
        return int(np.searchsorted(self.times, until, "right"))


def _part(problem: Problem, fits: _Fits, member: Member, recipe: Recipe, origin: float) -> Part:
    n = fits.count(origin)
    if member == "half":
        return Part(fits.fit(n // 2, n))
    if member == "rows":
        return Part(fits.fit(max(0, n - int(recipe.amount)), n))
    if member == "span":
        return Part(fits.fit(fits.count(origin - recipe.amount), n))
    if member == "horizons":
        return Part(fits.fit(fits.count(origin - recipe.amount * problem.horizon), n))
    if member == "time":
        return Part(fits.fit(0, n, time_index=True), time_index=float(fits.times[n - 1]) / 86400.0)
    if member == "level":
        before = fits.count(origin - problem.horizon)
        if before in (0, n):  # no rows to fit a level on: the newest horizon is all there is, or empty
            return Part(fits.fit(0, n))
        part = Part(fits.fit(0, before))
        newest = fits.rows.iloc[before:n]
        return Part(part.estimator, fit_level(problem.task, problem.truth(newest), _answers(problem, part, newest)))
    return Part(fits.fit(0, n))


def _answers(problem: Problem, part: Part, rows: pd.DataFrame) -> Floats:
    features = rows[list(problem.inputs)]
    if part.time_index is not None:
        features = features.assign(**{TIME_INDEX: part.time_index})
    if problem.task == "regression":
        found = np.asarray(part.estimator.predict(features), dtype=np.float64).reshape(len(rows))
    else:
        if not hasattr(part.estimator, "predict_proba"):
            raise UsageError(
                "[training] model answers with classes and no probabilities: wrap what it returns in "
                "scikit-learn's CalibratedClassifierCV"
            )
        found = np.zeros((len(rows), len(problem.classes)))
        place = {value: i for i, value in enumerate(problem.classes)}
        seen = part.estimator.classes_.tolist()
        answered = part.estimator.predict_proba(features)[:, : len(seen)]  # boosting adds a column to a single class
        found[:, [place[c] for c in seen]] = answered
    return found if part.level is None else apply_level(found, part.level)


def _active(times: Floats, horizon: float, block: float) -> Floats:
    """Return times with each gap of more than a horizon shortened to a block, as if nothing lay in between."""
    steps = np.diff(times)
    if not (steps > horizon).any():
        return times
    return np.concatenate([times[:1], times[0] + np.cumsum(np.where(steps > horizon, block, steps))])


def _origins(problem: Problem, times: Floats, blocks: int, parts: int) -> list[tuple[float, float]]:
    """Return the ends of the fits and of what each is judged on, oldest first; half of the span lies before each.

    They are one horizon apart; the newest horizon is judged in so many parts. Where that leaves fewer rows than
    `JUDGED`, or than a fifth of all, a part of older rows comes before them, if the gap leaves rows to fit on then.
    """
    horizon, end, middle = problem.horizon, float(times[-1]), float(times[0] + times[-1]) / 2
    old = [(end - k * horizon, end - (k - 1) * horizon) for k in range(blocks, 1, -1)]
    length = horizon / parts
    new = [(end - k * length, end - (k - 1) * length) for k in range(parts, 0, -1)]
    usable = [part for part in (*old, *new) if part[0] >= middle]
    usable = usable or [(end - (end - float(times[0])) / 5, end)]
    fewest = times[len(times) - max(1, min(JUDGED, len(times) // 5))]
    before, first = int(np.searchsorted(times, fewest)), usable[0][0]
    if before < 2 or fewest > first or np.searchsorted(times, times[before - 1] - problem.gap, "right") < 2:
        return usable
    return [(float(times[before - 1]), first), *usable]


def _compare(
    recipes: Sequence[Recipe], means: Mapping[str, Floats], ages: Floats, alpha: float
) -> tuple[Recipe, str, dict[str, dict[str, float]]]:
    """Return the choice, why, and the scores; `ages` are those of the blocks, in horizons."""
    default, rivals = recipes[0], recipes[1:]
    spans = {look: inside for look in LOOKS if (inside := ages < look).sum() >= FEWEST or look == LOOKS[0]}
    usual = float(means[default.name].mean())
    scores: dict[str, dict[str, float]] = {default.name: {"loss": usual}}
    if not rivals:
        return default, f"{default.name}: as the project file says", scores
    level, beyond = alpha / len(rivals) / len(spans), dict[str, str]()
    for rival in rivals:
        gains = means[default.name] - means[rival.name]
        seen = {
            look: (gains[inside], _z(gains[inside]), _bar(level, int(inside.sum()))) for look, inside in spans.items()
        }
        look = max(seen, key=lambda look: seen[look][1] - seen[look][2])
        gain, z, bar = seen[look]
        scores[rival.name] = {
            "loss": float(means[rival.name].mean()),
            "newest": float(means[rival.name][ages < 1.0].mean()),
            "gain": float(gain.mean()),
            "standard_error": float(gain.std(ddof=1)) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0,
            "z": z,
            "bar": bar,
            "blocks": float(len(gain)),
        }
        if z > bar:
            lower = f"{gain.mean():.4g} (z {z:.1f} over {bar:.1f})"
            beyond[rival.name] = (
                f"loss lower than {default.name}'s by {lower} on the newest {len(gain)} out-of-time blocks"
            )
    if len(ages) < FEWEST:
        few = f"{len(ages)} out-of-time block{'s' if len(ages) > 1 else ''} cannot tell rivals apart"
        return default, f"{default.name}: {few}; a shorter [training] horizon or [monitoring] block gives more", scores
    if not beyond:
        return default, f"{default.name}: no rival is better beyond doubt on {len(ages)} out-of-time blocks", scores
    best = min((r for r in rivals if r.name in beyond), key=lambda r: scores[r.name]["newest"])
    return best, f"{best.name}: {beyond[best.name]}", scores


def _z(gain: Floats) -> float:
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
    return float(gain.mean()) / error if error > 0 else 0.0


def _bar(level: float, blocks: int) -> float:
    """Return what a standardised mean of so few blocks must exceed (Student's distribution)."""
    from scipy.stats import t

    return float(t.ppf(1 - level, max(1, blocks - 1)))
