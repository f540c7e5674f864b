"""Query strategies: of rows without a label, those whose labels teach a model most, and why these.

Each is a strategy of scikit-activeml under a plain name. Which rows a model was taught already, and what models say of
the others, is told as arrays, so that any model of a project can be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from everloop.errors import UsageError, close_match

__all__ = ["STRATEGIES", "Chosen", "Known", "choose", "uncertainty"]

Floats = NDArray[np.float64]
MANY, SHARE = 300, 10
"""From how many labels on diversity looks at a share of the rows only: a tenth, or ten for each that is asked for."""


class Known(msgspec.Struct, frozen=True):
    """What a choice goes by: `points` of all rows (`embed`), those that are labelled first, and what models say.

    `answers` holds, a model, its answers to the unlabelled rows: probabilities of shape (rows, classes), or numbers. Of
    several the first is the one that serves, the others are a committee.
    """

    points: Floats
    labelled: int = 0
    answers: Sequence[Floats] = ()

    @property
    def rows(self) -> int:
        """How many rows can be chosen."""
        return len(self.points) - self.labelled

    @property
    def classes(self) -> bool:
        """Whether models say probabilities."""
        return bool(self.answers) and self.answers[0].ndim == 2


class Chosen(msgspec.Struct, frozen=True):
    """One chosen row: its place among the unlabelled ones, and why it was chosen."""

    row: int
    reason: str


def choose(strategy: str, known: Known, count: int, seed: int = 0) -> list[Chosen]:
    """Return up to `count` rows, the most telling first.

    Raises `UsageError` for a strategy that is not there, or that cannot go by what is known.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"no strategy {strategy!r}{close_match(strategy, STRATEGIES)}: {', '.join(STRATEGIES)}")
    if not known.rows or count < 1:
        return []
    return STRATEGIES[strategy](known, min(count, known.rows), seed)


def uncertainty(probabilities: Floats) -> Floats:
    """Return from 0 (certain) to 1 (the two likeliest classes are as likely) a row."""
    two = np.sort(probabilities, axis=1)[:, -2:]
    return 1.0 - (two[:, 1] - two[:, 0])


def _uncertain(known: Known, count: int, seed: int) -> list[Chosen]:
    """The smallest margin between the two likeliest classes first."""
    _needs_classes(known, "uncertainty")
    places = _query("UncertaintySampling", known, count, seed, {"method": "margin_sampling"}, _one(known))
    return [Chosen(row, f"uncertain: {_likeliest(known, row)}") for row in places]


def _committee(known: Known, count: int, seed: int) -> list[Chosen]:
    """What models that were trained on other samples of the labels disagree on."""
    members = known.answers[1:]
    if len(members) < 2:
        raise UsageError("a committee needs labelled rows to train its members on: choose by diversity first")
    told = [_told(answers) for answers in members]
    places = _query("QueryByCommittee", known, count, seed, {}, {"ensemble": told, "fit_ensemble": False})
    return [Chosen(row, _disagreement(members, row)) for row in places]


def _diverse(known: Known, count: int, seed: int) -> list[Chosen]:
    """Typical rows of groups that hold no label yet."""
    if known.labelled > MANY:
        far = _far(known, count)
        apart = Known(known.points[known.labelled + far])
        places = [int(far[place]) for place in _query("TypiClust", apart, count, seed, {}, {})]
    else:
        places = _query("TypiClust", known, count, seed, {}, {})
    return [Chosen(row, "typical of rows that are like none with a label") for row in places]


def _mixed(known: Known, count: int, seed: int) -> list[Chosen]:
    """Uncertain rows of which the model does not say all the same."""
    _needs_classes(known, "mixed")
    places = _query("Falcun", known, count, seed, {}, _one(known))
    return [Chosen(row, f"{_likeliest(known, row)}, unlike the others chosen") for row in places]


def _random(known: Known, count: int, seed: int) -> list[Chosen]:
    """Chance: what the others must beat."""
    return [Chosen(row, "by chance") for row in _query("RandomSampling", known, count, seed, {}, {})]


STRATEGIES: dict[str, Callable[[Known, int, int], list[Chosen]]] = {
    "uncertainty": _uncertain,
    "committee": _committee,
    "diversity": _diverse,
    "mixed": _mixed,
    "random": _random,
}


def _far(known: Known, count: int) -> NDArray[np.intp]:
    """Return the tenth of the rows that lies furthest from any label: as many groups as labels would take long."""
    seen = NearestNeighbors(n_neighbors=1).fit(known.points[: known.labelled])
    distance = seen.kneighbors(known.points[known.labelled :])[0][:, 0]
    most = min(known.rows, max(SHARE * count, known.rows // SHARE))
    return np.sort(np.argsort(-distance, kind="stable")[:most])


def _query(name: str, known: Known, count: int, seed: int, how: dict[str, Any], asked: dict[str, Any]) -> list[int]:
    """Ask a strategy of scikit-activeml; the places are those among the unlabelled rows."""
    try:
        from skactiveml import pool
    except ImportError as error:
        raise UsageError(f"choosing rows to label needs {error.name}: pip install 'everloop[label]'") from error
    labels = np.full(len(known.points), np.nan)
    labels[: known.labelled] = 0.0
    strategy = getattr(pool, name)(**how, random_state=seed)
    places = strategy.query(X=known.points, y=labels, batch_size=count, **asked)
    return [int(place) - known.labelled for place in places]


def _told(answers: Floats) -> Any:
    from everloop.labelling.told import Classes, Numbers

    return Classes(answers) if answers.ndim == 2 else Numbers(answers)


def _one(known: Known) -> dict[str, Any]:
    return {"clf": _told(known.answers[0]), "fit_clf": False}


def _needs_classes(known: Known, strategy: str) -> None:
    if not known.answers:
        raise UsageError(f"{strategy} needs a model: label rows that diversity chooses first")
    if not known.classes:
        raise UsageError(f"{strategy} needs probabilities, and a number has none: choose by committee or diversity")


def _likeliest(known: Known, row: int) -> str:
    two = np.sort(known.answers[0][row])[-2:][::-1]
    return f"the two likeliest classes have {two[0]:.2f} and {two[1]:.2f}"


def _disagreement(members: Sequence[Floats], row: int) -> str:
    if members[0].ndim == 2:
        votes = np.bincount([int(member[row].argmax()) for member in members])
        spread = np.ptp([member[row] for member in members], axis=0).max()
        return f"{votes.max()} of {len(members)} models agree, their probabilities differ by {spread:.2f}"
    said = [float(member[row]) for member in members]
    return f"{len(members)} models say {min(said):.4g} to {max(said):.4g}"
