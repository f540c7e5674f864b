from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from everloop.errors import UsageError
from everloop.evaluation import losses
from everloop.training import AUTO, EVERYTHING, Problem, choose, fit_recipe, fixed, newest_horizons
from everloop.training.window import before_judged

DAY = 86400.0


def regression(change: float = 1.0, days: int = 80, seed: int = 0) -> tuple[Problem, pd.DataFrame, Any]:
    """Return eight rows a day whose level is multiplied by `change` over the newest half."""
    rng = np.random.default_rng(seed)
    times = np.arange(days * 8) * DAY / 8
    x = rng.uniform(1, 2, len(times))
    late = np.clip((times - times[-1] / 2) / (times[-1] / 2), 0, 1)
    y = 10 * x * (1 + (change - 1) * late) + rng.normal(0, 0.3, len(times))

    def loss(truth: Any, answers: Any) -> Any:
        return losses("regression", truth, answers)

    problem = Problem("regression", ("x",), "y", (), LinearRegression, loss, horizon=7 * DAY)
    return problem, pd.DataFrame({"x": x, "y": y}), times


def test_a_fixed_window_is_a_recipe_and_auto_is_none() -> None:
    assert fixed("auto") is None
    assert fixed("all") == EVERYTHING
    assert EVERYTHING in AUTO
    rows, span = fixed("4000"), fixed("90d")
    assert rows is not None
    assert span is not None
    assert (rows.members, rows.amount) == (("rows",), 4000.0)
    assert (span.members, span.amount) == (("span",), 90 * DAY)


def test_everything_is_kept_where_nothing_changes() -> None:
    choice = choose(*regression())
    assert choice.recipe == EVERYTHING
    assert choice.reason.startswith("everything")


def test_a_rival_that_leans_on_the_newest_rows_wins_where_the_level_moves() -> None:
    choice = choose(*regression(change=3.0))
    assert choice.recipe != EVERYTHING
    assert choice.scores[choice.recipe.name]["loss"] < choice.scores["everything"]["loss"]


def turned(seed: int, days: float) -> Any:
    """Sixteen weeks of which, in the newest `days`, `x` means the opposite."""
    rng = np.random.default_rng(seed)
    times = np.arange(112 * 24) * DAY / 24
    x = rng.normal(size=len(times))
    y = np.where(times > times[-1] - days * DAY, -2.0, 2.0) * x + rng.normal(0, 0.5, len(times))

    def loss(truth: Any, answers: Any) -> Any:
        return losses("regression", truth, answers)

    problem = Problem("regression", ("x",), "y", (), LinearRegression, loss, horizon=14 * DAY)
    return problem, pd.DataFrame({"x": x, "y": y}), times


@pytest.mark.parametrize(
    ("days", "names"), [(6, {"newest 0.5 horizon"}), (20, {"newest 0.5 horizon", "newest 1 horizon"})]
)
def test_what_turned_round_days_ago_leaves_only_the_newest_rows(days: float, names: set[str]) -> None:
    choice = choose(*turned(0, days))
    assert choice.recipe.name in names
    assert "on the newest" in choice.reason


def test_too_few_blocks_are_told_with_what_gives_more() -> None:
    problem, rows, times = regression(days=4)
    found = choose(problem, rows, times)
    assert found.recipe == EVERYTHING
    assert found.reason == (
        "everything: 2 out-of-time blocks cannot tell rivals apart; "
        "a shorter [training] horizon or [monitoring] block gives more"
    )


def test_nothing_is_chosen_by_chance() -> None:
    chosen = [choose(*turned(seed, 0)).recipe for seed in range(24)]
    assert sum(recipe != EVERYTHING for recipe in chosen) <= 4  # at a level of 5 %


def test_a_window_of_the_newest_rows_is_known_from_its_version() -> None:
    kept = {r.name: newest_horizons(msgspec.to_builtins({"recipe": r})) for r in AUTO}
    assert kept["everything"] == kept["team"] == 0.0
    assert [v for v in kept.values() if v] == [0.5, 1.0, 2.0, 4.0]
    assert newest_horizons({}) == 0.0


def test_every_recipe_has_its_loss_stored_and_answers_belong_to_the_evaluated_rows() -> None:
    problem, rows, times = regression()
    choice = choose(problem, rows, times)
    assert set(choice.scores) >= {recipe.name for recipe in AUTO}
    assert len(choice.rows) == len(choice.answers)
    assert list(choice.rows) == sorted(set(choice.rows))
    assert min(times[list(choice.rows)]) >= times[-1] / 2
    assert np.abs(choice.answers - problem.truth(rows.iloc[list(choice.rows)])).mean() < 1.0
    assert len(choice.baseline) > 1


@pytest.mark.parametrize("change", [1.0, 3.0])
def test_what_each_recipe_lost_by_block_is_what_was_compared(change: float) -> None:
    choice = choose(*regression(change=change))
    assert set(choice.blocks) == {recipe.name for recipe in AUTO}
    assert choice.blocks[choice.recipe.name] == choice.baseline
    for name, lost in choice.blocks.items():
        assert np.mean(lost) == pytest.approx(choice.scores[name]["loss"])
        gains = np.subtract(choice.blocks["everything"], lost)
        if count := int(choice.scores[name].get("blocks", 0)):
            assert gains[-count:].mean() == pytest.approx(choice.scores[name]["gain"])


def test_a_gap_lies_between_the_rows_of_a_fit_and_those_it_is_judged_on() -> None:
    problem, rows, times = regression()
    newest: list[float] = []

    class Seeing(LinearRegression):  # type: ignore[misc]
        def fit(self, x: pd.DataFrame, y: Any) -> Any:
            newest.append(float(times[x.index[-1]]))
            return super().fit(x, y)

    gapped = msgspec.structs.replace(problem, gap=3 * DAY, build=Seeing)
    choose(gapped, rows, times, (EVERYTHING,))
    origins = [times[-1] - count * 7 * DAY for count in (4, 3, 2, 1)]
    assert [round((origin - seen) / DAY, 3) for origin, seen in zip(origins, newest, strict=True)] == [3.0] * 4
    with pytest.raises(UsageError, match="gap leaves no rows to fit on"):
        choose(msgspec.structs.replace(problem, gap=80 * DAY), rows, times)


def test_the_only_recipe_is_chosen() -> None:
    problem, rows, times = regression(change=3.0)
    only = fixed("10d")
    assert only is not None
    assert choose(problem, rows, times, (only,)).recipe == only


@pytest.mark.parametrize("window", ["all", "100", "14d"])
def test_a_fit_sees_no_row_after_its_origin(window: str) -> None:
    problem, rows, times = regression()
    recipe, origin = fixed(window), times[400]
    assert recipe is not None
    spoiled = rows.assign(y=rows["y"].where(times <= origin, 1e6))
    answers = [fit_recipe(problem, table, times, recipe, origin).answers(rows) for table in (rows, spoiled)]
    assert (answers[0] == answers[1]).all()


def test_classes_that_a_window_lacks_have_no_probability() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(300) * DAY / 8
    x = rng.normal(size=300)
    y = np.where(np.arange(300) < 100, "old", np.where(x > 0, "b", "a"))
    rows = pd.DataFrame({"x": x, "y": y})

    def loss(truth: Any, answers: Any) -> Any:
        return losses("classification", truth, answers)

    problem = Problem("classification", ("x",), "y", ("a", "b", "old"), LogisticRegression, loss, horizon=7 * DAY)
    recipe = fixed("150")
    assert recipe is not None
    answers = fit_recipe(problem, rows, times, recipe, times[-1]).answers(rows)
    assert answers.shape == (300, 3)
    assert (answers[:, 2] == 0).all()
    assert answers.sum(1) == pytest.approx(1.0)


def test_a_fit_that_saw_a_single_class_gives_it_all_probability() -> None:
    rows = pd.DataFrame({"x": np.arange(60.0), "y": ["b"] * 40 + ["a"] * 20})
    problem = Problem(
        "classification", ("x",), "y", ("a", "b"), HistGradientBoostingClassifier, lambda _, answers: answers, 7 * DAY
    )
    answers = fit_recipe(problem, rows, np.arange(60.0) * DAY, EVERYTHING, 39 * DAY).answers(rows)
    assert answers == pytest.approx(np.tile([0.0, 1.0], (60, 1)), abs=1e-6)


def test_a_classifier_without_probabilities_is_told_what_gives_them() -> None:
    rows = pd.DataFrame({"x": np.arange(60.0), "y": ["a", "b"] * 30})
    problem = Problem("classification", ("x",), "y", ("a", "b"), LinearSVC, lambda _, answers: answers, horizon=7 * DAY)
    trained = fit_recipe(problem, rows, np.arange(60.0) * DAY, EVERYTHING, 59 * DAY)
    with pytest.raises(
        UsageError, match=r"no probabilities: wrap what it returns in scikit-learn's CalibratedClassifi"
    ):
        trained.answers(rows)


def test_old_rows_and_live_ones_are_neighbours_whatever_lies_between() -> None:
    """Half a year of nothing counts as one block: the newest half of a horizon holds 97 rows from before it."""
    rng = np.random.default_rng(0)
    times = np.concatenate([np.arange(400) * 3600.0, 180 * 86400.0 + np.arange(48) * 3600.0])
    rows = pd.DataFrame({"x": rng.normal(size=len(times))})
    rows["y"] = 3 * rows["x"] + rng.normal(0, 0.1, len(times))
    problem = Problem(
        task="regression", inputs=("x",), target="y", classes=(), build=LinearRegression,
        loss=lambda truth, answers: (truth - answers) ** 2, horizon=14 * 86400.0,
    )  # fmt: skip
    choice = choose(problem, rows, times)
    assert np.isfinite(choice.answers).all()
    assert len(choice.rows) == 48 + 97


def test_a_few_new_labels_are_not_all_that_is_judged() -> None:
    """A table without a time, then three labels from traffic a year later."""
    problem, rows, _ = regression(days=125)
    times = np.concatenate([np.arange(997.0), 3.2e7 + np.arange(3.0)])
    found = choose(problem, rows, times)
    assert found.rows == tuple(range(900, 1_000))
    assert before_judged(problem, times) == 900
    assert choose(problem, rows[:50], times[:50]).rows == tuple(range(40, 50))


def test_older_rows_are_not_judged_where_the_gap_would_leave_none_to_fit_on() -> None:
    problem, rows, _ = regression(days=125)
    times = np.concatenate([np.arange(997.0), 3 * DAY + np.arange(3.0)])
    gapped = msgspec.structs.replace(problem, gap=DAY)
    assert choose(gapped, rows, times).rows == (997, 998, 999)
    assert before_judged(gapped, times) == 997


def test_rows_that_leave_nothing_to_judge_are_told_why() -> None:
    problem, rows, times = regression()
    with pytest.raises(UsageError, match=r"^\[data\] time is the same in all rows"):
        choose(problem, rows, np.full(len(times), DAY))
    with pytest.raises(UsageError, match=r"^\[data\] source gives 2 row\(s\), .*: add more$"):
        choose(problem, rows[:2], times[:2])
