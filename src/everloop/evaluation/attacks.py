"""How small a change of numbers or pixels makes a model answer otherwise: the Adversarial Robustness Toolbox's attack.

HopSkipJump (Chen, Jordan and Wainwright 2020) walks along the boundary of a label towards the row, and asks the model
for labels only. Models of values have no label: theirs is whether the answer moved by more than the usual error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.errors import UsageError
from everloop.evaluation.answered import Answered, spread_out
from everloop.evaluation.explanations import Predict
from everloop.evaluation.intervals import Figure, figure, figures
from everloop.evaluation.movable import Movable, movable
from everloop.evaluation.robustness import ROWS as POOL

__all__ = ["ATTACKED", "QUERIES", "WITHIN", "Attacked", "MovedColumn", "attacked", "check_attackable"]

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
ATTACKED, QUERIES, STARTS = 100, 1500, 200
"""Rows that are attacked, rows that the model may be asked for each of them, and how many of those find a start."""
WITHIN = 0.5
SHARES = (0.1, 0.25, 0.5, 0.75)
STEPS, DIRECTIONS, HALVINGS = 12, 40, 6
"""Steps of HopSkipJump, what it asks for its first direction, and how finely each column is moved back at the end."""


class MovedColumn(msgspec.Struct, frozen=True):
    """A column's mean share of the way (its square) that flipped rows had to go."""

    column: str
    share: Figure


class Attacked(msgspec.Struct, frozen=True):
    """What it took to make `rows` rows flip, where `flips` says what that is; the model was asked `asked` rows.

    A distance is the root of the sum of squares of all changes, each in units of its column's spread. `distances` are
    those of the `flipped` rows, in order; `quantiles` count the others as farther than any, and are None there.
    `within` is the share of all attacked rows that flip within `bound`. All distances are upper bounds: who may ask
    more may find a shorter way.
    """

    flips: str
    rows: int
    flipped: int
    asked: int
    bound: float
    within: Figure
    quantiles: dict[str, float | None]
    distances: list[float]
    columns: list[MovedColumn]


def check_attackable(rows: Answered) -> None:
    """Raise `UsageError` where nothing of these rows can be moved, and without the toolbox."""
    pool = _pool(rows)
    movable(pool.columns, pool.inputs)
    _toolbox()


def attacked(rows: Answered, predict: Predict, progress: Progress = lambda _done, _all: None) -> Attacked:
    """Return what attacks on some rows come to: evenly spread ones, of classes only those that are answered right.

    Moved are numbers, within what was seen and whole where they are, and pixels; all else stays. Raises `UsageError`
    without the toolbox, or where nothing can be moved.
    """
    pool = _pool(rows)
    moves, hop = movable(pool.columns, pool.inputs), _toolbox()
    answers = predict(pool.inputs)
    usual = float(np.sqrt(rows.losses.mean())) if rows.task == "regression" else 0.0
    right = np.arange(len(pool)) if rows.task == "regression" else np.flatnonzero(answers.argmax(1) == pool.truth)
    if not len(right):
        raise UsageError("no row is answered right: there is no label that an attack could flip")
    place = right[spread_out(len(right), ATTACKED)]
    squares, asked = np.full((len(place), len(moves.names)), np.inf), 0
    for number, one in enumerate(place.tolist()):
        target = _Target(pool, one, moves, predict, _flips(rows.task, answers[one : one + 1], usual))
        if target.start(answers):
            with _seeded(number):
                hop(target)
            target.tighten()
        squares[number], asked = target.squares, asked + target.asked
        progress(number + 1, len(place))
    flips = f"the answer moves by more than {usual:.4g}" if rows.task == "regression" else "another label"
    return _told(flips, squares, asked, moves.names, pool.blocks[place])


def _pool(rows: Answered) -> Answered:
    """Return the rows that attacks know of."""
    return rows.take(spread_out(len(rows), POOL))


def _toolbox() -> Callable[[_Target], None]:
    """Return what lets the toolbox attack a row as far as its budget reaches."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells what it cannot do without PyTorch
            from art.attacks.evasion import HopSkipJump
            from art.estimators.classification import BlackBoxClassifierNeuralNetwork
    except ImportError:
        told = "attacks are those of the Adversarial Robustness Toolbox: pip install 'everloop[adversarial]'"
        raise UsageError(told) from None

    def attack(target: _Target) -> None:
        shape = target.best.shape
        model = BlackBoxClassifierNeuralNetwork(target, shape, 2, clip_values=(target.low, target.high))
        found = HopSkipJump(
            model, batch_size=QUERIES, max_iter=STEPS, max_eval=QUERIES, init_eval=DIRECTIONS, verbose=False
        )
        start = target.best[None].astype(np.float32)
        try:
            found.generate(np.zeros((1, *shape), np.float32), x_adv_init=start, mask=target.mask[None])
        except _Spent:
            return

    return attack


class _Spent(Exception):
    """The row's budget is used up."""


class _Target:
    """A row as the toolbox attacks it: moves in units of spread go in, whether it flips comes out.

    The shortest move that flipped it is kept, as it was asked: whole numbers whole. So nothing is reported that the
    model did not answer, wherever the budget ends.
    """

    def __init__(
        self, rows: Answered, one: int, moves: Movable, predict: Predict, flips: Callable[[Floats], NDArray[np.bool_]]
    ) -> None:
        self._rows, self._one, self._moves, self._predict, self._flips = rows, one, moves, predict, flips
        self._row = {name: values[one : one + 1] for name, values in rows.inputs.items()}
        self._from = moves.points(self._row)[0]
        self.mask = np.isfinite(self._from).astype(np.float32)
        there = np.isfinite(self._from)
        self.low = np.where(there, moves.low - self._from, -1.0).astype(np.float32)
        self.high = np.where(there, moves.high - self._from, 1.0).astype(np.float32)
        self.best, self.distance, self.asked = np.zeros_like(self._from), np.inf, 0
        self._went = self.best

    def __call__(self, moves: NDArray[Any]) -> NDArray[np.float32]:
        if self.asked + len(moves) > QUERIES:
            raise _Spent
        self.asked += len(moves)
        points = np.where(np.isfinite(self._from), self._from + np.where(self.mask, moves, 0.0), np.nan)
        inputs = self._moves.inputs(self._row, points)
        flipped = self._flips(self._predict(inputs))
        went = np.nan_to_num(self._moves.points(inputs) - self._from)
        far = np.where(flipped, np.sqrt((went**2).sum(1)), np.inf)
        if far.min() < self.distance:
            nearest = int(far.argmin())
            self.best, self._went, self.distance = moves[nearest], went[nearest], float(far[nearest])
        return np.eye(2, dtype=np.float32)[flipped.astype(np.int64)]

    def start(self, answers: Floats) -> bool:
        """Ask the numbers of the nearest rows that are answered otherwise; tell whether the row flips by some."""
        other = np.flatnonzero(self._flips(answers))
        went = np.nan_to_num(self._moves.points(self._rows.inputs)[other] - self._from)
        nearest = np.argsort((went**2).sum(1), kind="stable")[:STARTS]
        if len(nearest):
            self(went[nearest].astype(np.float32))
        return bool(np.isfinite(self.distance))

    def tighten(self) -> None:
        """Move one column after another back as far as the row stays flipped, while the budget lasts."""
        try:
            for members in self._moves.members:
                if not self._went[members].any():
                    continue
                back = np.repeat(self.best[None], HALVINGS, axis=0)
                back[:, members] *= np.linspace(0, 1, HALVINGS, endpoint=False)[:, None]
                self(back)
        except _Spent:
            return

    @property
    def squares(self) -> Floats:
        """How far each column went, squared; infinitely far where the row never flipped."""
        if not np.isfinite(self.distance):
            return np.full(len(self._moves.names), np.inf)
        return np.asarray([float((self._went[members] ** 2).sum()) for members in self._moves.members])


def _flips(task: str, before: Floats, usual: float) -> Callable[[Floats], NDArray[np.bool_]]:
    """Return what tells which answers are other ones than `before`."""
    if task == "regression":
        return lambda answers: np.abs(answers - before[0]) > usual
    label = int(before[0].argmax())
    return lambda answers: np.asarray(answers.argmax(1) != label)


def _told(flips: str, squares: Floats, asked: int, names: list[str], blocks: NDArray[np.int64]) -> Attacked:
    distances = np.sqrt(squares.sum(1))
    flipped = np.isfinite(distances)
    close = (distances <= WITHIN).astype(np.float64)
    shares = squares[flipped] / np.maximum(squares[flipped].sum(1, keepdims=True), 1e-30)
    drawn = (
        figures(lambda chosen: dict(zip(names, shares[chosen].mean(0).tolist(), strict=True)), blocks[flipped])
        if flipped.any()
        else {}
    )
    at = np.quantile(distances, SHARES, method="inverted_cdf").tolist()
    return Attacked(
        flips=flips,
        rows=len(distances),
        flipped=int(flipped.sum()),
        asked=asked,
        bound=WITHIN,
        within=figure(lambda chosen: float(close[chosen].mean()), blocks),
        quantiles={f"{share:.0%}": far if np.isfinite(far) else None for share, far in zip(SHARES, at, strict=True)},
        distances=np.sort(distances[flipped]).tolist(),
        columns=sorted((MovedColumn(n, one) for n, one in drawn.items()), key=lambda one: -one.share.value),
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generator of numpy that all share, which the toolbox draws from, and leave it as it was."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
