"""Where a model fails most: a shallow tree over the losses, its leaves read as conditions a person can say.

The tree is grown on every other block of time, and what is told of a leaf is measured on the blocks between: a tree
finds bad luck too, and the rows it was found on would confirm it (honest trees, Athey and Imbens 2016). Trees over
errors: Nushi, Kamar and Horvitz 2018. A split whose sides hardly differ is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.evaluation.answered import Answered
from everloop.evaluation.intervals import Figure, figures
from everloop.types import Column

__all__ = ["Slice", "holds", "slices", "told_apart"]

Bools = NDArray[np.bool_]
DEPTH, SHARE, FEWEST, MOST_VALUES = 3, 0.03, 30, 30
APART = 4.0
"""Standard errors that the sides of a split differ by at least; it is the best of many splits."""


class Condition(msgspec.Struct, frozen=True):
    """What a row of a slice fulfils in one column: above and up to a number, one text or none of some."""

    column: str
    above: float | None = None
    up_to: float | None = None
    whole: bool = False
    value: str | None = None
    others: tuple[str, ...] = ()
    missing: bool | None = None
    """Whether there is no value."""

    @property
    def told(self) -> str:
        """The condition as a person says it."""
        if self.missing is not None:
            return f"{self.column} is {'missing' if self.missing else 'there'}"
        if self.value is not None:
            return f"{self.column} = {self.value or '(empty)'}"
        if self.others:
            return f"{self.column} is not {' or '.join(one or '(empty)' for one in self.others)}"
        if self.whole:
            least = int(np.floor(self.above)) + 1 if self.above is not None else None
            most = int(np.floor(self.up_to)) if self.up_to is not None else None
            if least is not None and most is not None:
                return f"{self.column} = {least}" if least == most else f"{least} <= {self.column} <= {most}"
            return f"{self.column} <= {most}" if least is None else f"{self.column} >= {least}"
        lower = f"{self.above:.4g} < " if self.above is not None and self.up_to is not None else ""
        return (
            f"{lower}{self.column} <= {self.up_to:.4g}"
            if self.up_to is not None
            else f"{self.column} > {self.above:.4g}"
        )


class Slice(msgspec.Struct, frozen=True):
    """Rows that a model treats alike: their `name`, how many were measured, their loss beside that of all others.

    `ratio` is the slice's mean loss over that of all rows; `worse` says that its interval lies above 1.
    """

    name: str
    rows: int
    share: float
    loss: Figure
    ratio: Figure
    conditions: tuple[Condition, ...]
    worse: bool


def slices(rows: Answered, seed: int = 0) -> list[Slice]:
    """Return the leaves of the error tree, the worst first; none where rows are too few to tell leaves apart."""
    grown, measured = rows.blocks % 2 == 0, rows.blocks % 2 == 1
    if not told_apart(rows):
        return []
    leaves = _grow(list(_features(rows)), rows.losses, grown, _smallest(grown), seed)
    found = [_measured(rows, conditions, measured) for conditions in leaves]
    return sorted((one for one in found if one is not None), key=lambda s: -s.ratio.value)


def told_apart(rows: Answered) -> bool:
    """Tell whether there are columns for slices, and rows enough."""
    grown = rows.blocks % 2 == 0
    enough = min(grown.sum(), (~grown).sum()) >= 2 * _smallest(grown)
    return bool(enough and next(_features(rows), None) is not None)


def _smallest(grown: Bools) -> int:
    return max(FEWEST, int(SHARE * grown.sum()))


def holds(conditions: tuple[Condition, ...], inputs: dict[str, NDArray[Any]]) -> Bools:
    """Return which rows fulfil all conditions."""
    count = len(next(iter(inputs.values())))
    found = np.ones(count, dtype=np.bool_)
    for one in conditions:
        found &= _fulfils(one, inputs[one.column])
    return found


class _Feature(msgspec.Struct):
    """A number a row that the tree may split at one half or anywhere, and what each side of it means."""

    column: str
    values: NDArray[np.float64]
    whole: bool = False
    text: str | None = None
    missing: bool = False

    @property
    def everything(self) -> Condition:
        """What all rows fulfil; where there are two whole numbers, a side of them is one number."""
        least, most = float(self.values.min()), float(self.values.max())
        if self.whole and most - least == 1.0:
            return Condition(self.column, above=least - 0.5, up_to=most + 0.5, whole=True)
        return Condition(self.column, whole=self.whole)


def _features(rows: Answered) -> Iterator[_Feature]:
    for column in rows.columns:
        values = rows.inputs[column.name]
        if column.shape or column.kind in ("image", "video"):
            continue
        if column.dtype == "string":
            yield from _texts(column, values)
            continue
        numbers = values.astype(np.float64)
        gaps = np.isnan(numbers)
        if gaps.any():
            yield _Feature(column.name, gaps.astype(np.float64), missing=True)
            if gaps.all():
                continue
            numbers = np.where(gaps, np.nanmedian(numbers), numbers)
        yield _Feature(column.name, numbers, bool((numbers == np.round(numbers)).all()))


def _texts(column: Column, values: NDArray[Any]) -> Iterator[_Feature]:
    """Give each frequent text of a categorical column; free text says nothing that could be named."""
    if column.kind != "categorical":
        return
    found, counts = np.unique(values.astype(str), return_counts=True)
    for text in found[np.argsort(-counts)][:MOST_VALUES]:
        yield _Feature(column.name, (values.astype(str) == text).astype(np.float64), text=str(text))


def _grow(
    features: list[_Feature], losses: NDArray[np.float64], grown: Bools, smallest: int, seed: int
) -> list[tuple[Condition, ...]]:
    from sklearn.tree import DecisionTreeRegressor

    table = np.column_stack([feature.values for feature in features])[grown]
    target = np.minimum(losses[grown], np.quantile(losses[grown], 0.99))  # a few wild rows are no slice
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=smallest, random_state=seed).fit(table, target).tree_

    def leaves(node: int, path: tuple[Condition, ...]) -> list[tuple[Condition, ...]]:
        left, right = tree.children_left[node], tree.children_right[node]
        if left < 0:
            return [path]
        feature, cut = features[tree.feature[node]], float(tree.threshold[node])
        lower = leaves(left, _narrowed(path, feature, cut, upper=False))
        higher = leaves(right, _narrowed(path, feature, cut, upper=True))
        whole = len(lower) == len(higher) == 1 and not _apart(tree, left, right)
        return [path] if whole else [*lower, *higher]

    return [path for path in leaves(0, ()) if path]


def _apart(tree: Any, left: int, right: int) -> bool:
    """Tell whether two sides of a split differ in their mean loss beyond what the search for it explains."""
    error = math.sqrt(sum(tree.impurity[side] / tree.n_node_samples[side] for side in (left, right)))
    return bool(abs(tree.value[left].item() - tree.value[right].item()) > APART * error)


def _narrowed(path: tuple[Condition, ...], feature: _Feature, cut: float, *, upper: bool) -> tuple[Condition, ...]:
    """Return the path with one more condition, joined with what it says of the same column already."""
    name = feature.column
    if feature.missing:
        return (*path, Condition(name, missing=upper))
    if feature.text is not None:
        if upper:
            kept = tuple(c for c in path if c.column != name)  # one text is none of the others
            return (*kept, Condition(name, value=feature.text))
        before = next((c for c in path if c.column == name and c.others), Condition(name))
        return (*(c for c in path if c is not before), Condition(name, others=(*before.others, feature.text)))
    before = next((c for c in path if c.column == name and (c.above, c.up_to) != (None, None)), feature.everything)
    narrower = msgspec.structs.replace(before, above=cut) if upper else msgspec.structs.replace(before, up_to=cut)
    return (*(c for c in path if c is not before), narrower)


def _fulfils(one: Condition, values: NDArray[Any]) -> Bools:
    if one.value is not None:
        return np.asarray(values.astype(str) == one.value)
    if one.others:
        return np.asarray(~np.isin(values.astype(str), one.others))
    numbers = values.astype(np.float64)
    if one.missing is not None:
        return np.asarray(np.isnan(numbers) == one.missing)
    above, up_to = (-np.inf if one.above is None else one.above), (np.inf if one.up_to is None else one.up_to)
    return np.asarray((numbers > above) & (numbers <= up_to))  # a missing value is neither


def _measured(rows: Answered, conditions: tuple[Condition, ...], measured: Bools) -> Slice | None:
    inside = holds(conditions, rows.inputs)
    within = inside & measured
    if within.sum() < FEWEST // 2:
        return None
    loss, blocks, member = rows.losses[measured], rows.blocks[measured], within[measured]

    def measure(chosen: NDArray[np.int64]) -> dict[str, float]:
        own = loss[chosen][member[chosen]]
        mean = float(own.mean()) if len(own) else float("nan")
        everywhere = float(loss[chosen].mean())
        return {"loss": mean, "ratio": mean / everywhere if everywhere else float("nan")}

    found = figures(measure, blocks)
    name = " and ".join(one.told for one in conditions)
    low = found["ratio"].low
    return Slice(
        name,
        int(within.sum()),
        float(inside.mean()),
        found["loss"],
        found["ratio"],
        conditions,
        bool(low and low > 1.0),
    )
