"""How many labels a choice saves against chance: sms-spam, its template's estimator, twenty labels at a time.

A level is what chance comes to, on average, with 300 labels: average precision on 1,500 messages that nobody chooses
from. Saved is the share of the labels that chance needs for it with the same seed. The first 20 labels are the same for
all. Run `python bench/labels.py --seeds 10`; the data lies beside the project, or at `--data FILE`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from everloop.labelling import STRATEGIES, Known, choose, embed
from everloop.training.estimators import load_function
from everloop.types import Column

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "sms-spam" / "SMSSpamCollection"
FIRST, BATCH, LEVEL, MOST, TEST, MEMBERS = 20, 20, 300, 600, 1500, 5
Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """Average precision by number of labels, and the CPU seconds that one choice took."""

    labels: Floats
    precision: Floats
    seconds: float

    def needed(self, level: float) -> float:
        """Return how many labels reach a level first, in proportion between two choices; at most all there were."""
        reached = np.flatnonzero(self.precision >= level)
        if not len(reached):
            return float(self.labels[-1])
        place = int(reached[0])
        if place == 0:
            return float(self.labels[0])
        low, high = self.precision[place - 1 : place + 1]
        share = (level - low) / (high - low)
        return float(self.labels[place - 1] + share * (self.labels[place] - self.labels[place - 1]))


class Saved(NamedTuple):
    """Of one strategy, a value a seed: labels needed, and the share of those of chance that it saves."""

    needed: Floats
    share: Floats


def main() -> None:
    """Print a line a strategy."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES))
    told = parser.parse_args()
    if not told.data.is_file():
        print(f"{told.data} is not there: name the messages with --data")
        return
    found = curves(messages(told.data), told.strategies, told.seeds)
    level, rows = saved(found)
    print(f"average precision {level:.3f}, which chance comes to with {LEVEL} labels; mean ± sd of {told.seeds} seeds")
    print(f"{'strategy':<14}{'labels needed':>18}{'saved':>16}{'at 100':>16}{'at 300':>16}{'CPU s a choice':>16}")
    for name, one in rows.items():
        at = [np.array([np.interp(n, c.labels, c.precision) for c in found[name]]) for n in (100, 300)]
        cells = [_spread(one.needed, 0), _spread(one.share * 100, 0) + " %", _spread(at[0], 3), _spread(at[1], 3)]
        seconds = np.mean([curve.seconds for curve in found[name]])
        print(f"{name:<14}{cells[0]:>18}{cells[1]:>16}{cells[2]:>16}{cells[3]:>16}{seconds:>16.2f}")


def messages(path: Path) -> pd.DataFrame:
    """Return the messages with their labels."""
    return pd.read_csv(path, sep="\t", keep_default_na=False, quoting=3)


def curves(rows: pd.DataFrame, strategies: Iterable[str], seeds: int) -> dict[str, list[Curve]]:
    """Return a curve a strategy and seed; chance is always among them."""
    named = dict.fromkeys([*strategies, "random"])
    return {name: [_curve(rows, name, seed) for seed in range(seeds)] for name in named}


def saved(found: dict[str, list[Curve]]) -> tuple[float, dict[str, Saved]]:
    """Return the level, and what each strategy needs and saves."""
    level = float(np.mean([np.interp(LEVEL, curve.labels, curve.precision) for curve in found["random"]]))
    needed = {name: np.array([curve.needed(level) for curve in curves]) for name, curves in found.items()}
    return level, {name: Saved(count, 1 - count / needed["random"]) for name, count in needed.items()}


def _curve(rows: pd.DataFrame, strategy: str, seed: int) -> Curve:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    test, pool = rows.iloc[order[:TEST]], rows.iloc[order[TEST:]].reset_index(drop=True)
    points = embed(pool[["SMS"]], [Column("SMS", "string", "text")])
    spam = np.flatnonzero(pool["Label"] == "spam")
    labelled = [*range(FIRST - 1), int(spam[spam >= FIRST - 1][0])]
    counts, precision, seconds = list[int](), list[float](), list[float]()
    while True:
        said = _answers(pool, labelled, test, seed)
        counts.append(len(labelled))
        precision.append(float(average_precision_score(test["Label"] == "spam", said[:, 1])))
        if len(labelled) >= (MOST if strategy == "random" else LEVEL):
            return Curve(np.array(counts, float), np.array(precision), float(np.mean(seconds)))
        began = time.process_time()
        open_ = np.setdiff1d(np.arange(len(pool)), labelled)
        answers = [] if strategy in ("random", "diversity") else [_answers(pool, labelled, pool.iloc[open_], seed)]
        if strategy == "committee":
            samples = [_sample(pool, labelled, rng) for _ in range(MEMBERS)]
            answers += [_answers(pool, sample, pool.iloc[open_], seed) for sample in samples]
        known = Known(points[np.concatenate([labelled, open_])], len(labelled), answers)
        labelled += [int(open_[one.row]) for one in choose(strategy, known, BATCH, seed)]
        seconds.append(time.process_time() - began)


def _answers(pool: pd.DataFrame, labelled: list[int], rows: pd.DataFrame, seed: int) -> Floats:
    known = pool.iloc[labelled]
    estimator = load_function("model:model", ROOT / "src" / "everloop" / "templates" / "sms-spam")()
    estimator.set_params(logisticregression__random_state=seed)
    return np.asarray(estimator.fit(known[["SMS"]], known["Label"]).predict_proba(rows[["SMS"]]), np.float64)


def _sample(pool: pd.DataFrame, labelled: list[int], rng: np.random.Generator) -> list[int]:
    """Return labelled rows drawn with replacement, in each class as many as it has."""
    groups = pd.Series(labelled).groupby(pool["Label"].iloc[labelled].to_numpy())
    return [int(place) for _, group in groups for place in rng.choice(group.to_numpy(), len(group))]


def _spread(values: Floats, digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) if len(values) > 1 else 0:.{digits}f}"


if __name__ == "__main__":
    main()
