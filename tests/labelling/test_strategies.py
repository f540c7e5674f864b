"""Each strategy chooses what it says it does, and refuses what it cannot go by."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from everloop.errors import UsageError
from everloop.labelling import STRATEGIES, Known, choose, uncertainty

RNG = np.random.default_rng(0)


def groups(labelled: int) -> NDArray[np.float64]:
    """Sixty rows in three groups; those that are labelled come first, and lie in the first group."""
    centres = np.repeat([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], 20, axis=0)
    return centres + RNG.normal(0, 0.2, (60, 2)) + np.zeros((60, 1)) * labelled


def sure(rows: int, *unsure: int) -> NDArray[np.float64]:
    found = np.tile([0.95, 0.04, 0.01], (rows, 1))
    for place in unsure:
        found[place] = [0.41, 0.40, 0.19]
    return found


def test_uncertain_rows_come_first_with_their_reason() -> None:
    found = choose("uncertainty", Known(groups(10), 10, [sure(50, 7, 31)]), 2)
    assert {one.row for one in found} == {7, 31}
    assert {one.reason for one in found} == {"uncertain: the two likeliest classes have 0.41 and 0.40"}


def test_uncertain_rows_of_which_the_same_is_said_are_not_all_chosen() -> None:
    said = sure(50, 20, 21, 22, 23)
    said[40] = [0.10, 0.45, 0.45]
    found = choose("mixed", Known(groups(10), 10, [said]), 2)
    assert {one.row for one in found} - {40} < {20, 21, 22, 23}
    assert 40 in {one.row for one in found}
    assert "the two likeliest classes have 0.45 and 0.45, unlike the others chosen" in {one.reason for one in found}


def test_a_committee_points_at_what_it_disagrees_on() -> None:
    members = [sure(50) for _ in range(3)]
    members[2][13] = [0.1, 0.8, 0.1]
    [found] = choose("committee", Known(groups(10), 10, [sure(50), *members]), 1)
    assert (found.row, found.reason) == (13, "2 of 3 models agree, their probabilities differ by 0.85")


def test_a_committee_of_numbers_points_at_the_widest_spread() -> None:
    members = [np.arange(50.0), np.arange(50.0) + 1, np.arange(50.0)]
    members[1][44] = 90.0
    [found] = choose("committee", Known(groups(10), 10, [np.arange(50.0), *members]), 1)
    assert (found.row, found.reason) == (44, "3 models say 44 to 90")


def test_diversity_goes_where_no_label_is() -> None:
    found = choose("diversity", Known(groups(10), 10), 2)
    assert {one.row // 10 for one in found} in ({1, 3}, {1, 4}, {2, 3}, {2, 4})  # rows 10 to 29, and 30 to 49


def test_without_any_label_diversity_begins_in_each_group() -> None:
    found = choose("diversity", Known(groups(0)), 3)
    assert {one.row // 20 for one in found} == {0, 1, 2}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_seed_decides_and_nothing_is_chosen_twice(strategy: str) -> None:
    members = [np.random.default_rng(seed).dirichlet(np.ones(3), 50) for seed in range(4)]
    known = Known(groups(10), 10, members)
    found = choose(strategy, known, 9, seed=3)
    assert found == choose(strategy, known, 9, seed=3)
    assert len({one.row for one in found}) == 9
    assert len(choose(strategy, known, 99, seed=3)) == 50
    assert choose(strategy, Known(groups(10)[:10], 10, ()), 5) == []


@pytest.mark.parametrize(
    ("strategy", "answers", "told"),
    [
        ("uncertain", [], r"no strategy 'uncertain' \(did you mean 'uncertainty'\?\): uncertainty, committee"),
        ("uncertainty", [], "uncertainty needs a model: label rows that diversity chooses first"),
        ("mixed", [np.zeros(50)], "mixed needs probabilities, and a number has none"),
        ("committee", [np.zeros(50)], "a committee needs labelled rows"),
    ],
)
def test_what_it_cannot_go_by_is_told(strategy: str, answers: list[NDArray[np.float64]], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        choose(strategy, Known(groups(10), 10, answers), 5)


def test_uncertainty_is_one_where_two_classes_are_as_likely() -> None:
    assert uncertainty(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.6, 0.3, 0.1]])) == pytest.approx([1.0, 0.0, 0.7])


def test_with_many_labels_it_goes_far_from_all_of_them() -> None:
    rng = np.random.default_rng(0)
    labelled = rng.normal(0, 1, (2000, 2))
    pool = np.vstack([rng.normal(0, 1, (1000, 2)), rng.normal(30, 0.5, (90, 2))])
    found = choose("diversity", Known(np.vstack([labelled, pool]), 2000), 3)
    assert any(one.row >= 1000 for one in found)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skactiveml", None)
    with pytest.raises(UsageError, match=r"choosing rows to label needs skactiveml.*pip install 'everloop\[label\]'"):
        choose("diversity", Known(groups(10), 10), 1)
