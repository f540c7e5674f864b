"""Rows made from the rows of a fit: seeded, declared in `[training.augment]`, and never of rows that are judged on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from everloop.errors import UsageError, close_match
from everloop.settings import Augment
from everloop.types import Column

__all__ = ["Augmented", "augment"]

Pixels = NDArray[np.uint8]


class Augmented:
    """An unfitted estimator whose fit sees augmented rows; what `fit` returns is the estimator itself, fitted.

    So no answer is ever given through it: evaluation, export and serving have the plain estimator.
    """

    def __init__(self, estimator: Any, told: Augment, inputs: tuple[Column, ...], seed: int) -> None:
        self.estimator, self._told, self._inputs, self._seed = estimator, told, inputs, seed

    def fit(self, rows: pd.DataFrame, target: pd.Series[Any]) -> Any:
        """Return the estimator, fitted on the rows and on those made of them."""
        return self.estimator.fit(*augment(rows, target, self._told, self._inputs, self._seed))


def augment(
    rows: pd.DataFrame, target: pd.Series[Any], told: Augment, inputs: tuple[Column, ...], seed: int
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return rows and targets with their changed copies below them; equal arguments give equal rows."""
    known = [column.name for column in inputs]
    if odd := [name for name in told.columns if name not in known]:
        raise UsageError(f"[training.augment] columns: there is no input {odd[0]!r}{close_match(odd[0], known)}")
    _check_kinds(rows, told, inputs)
    rng = np.random.default_rng([seed, len(rows)])
    if told.balance != "off":
        rows, target = _balanced(rows, target, told.balance, seed)
    made = [_changed(rows, told, inputs, rng) for _ in range(told.copies)]
    every = pd.concat([rows, *made], ignore_index=True) if made else rows
    return every, pd.concat([target] * (1 + len(made)), ignore_index=True)


def _check_kinds(rows: pd.DataFrame, told: Augment, inputs: tuple[Column, ...]) -> None:
    """Raise `UsageError` for a change of what no input is: its copies would be the rows again."""
    shown, texts = any(c.prepare for c in inputs), any(c.kind == "text" for c in inputs)
    numbers = [c.name for c in inputs if c.dtype == "float64" and c.prepare is None]
    measured = any(_noisy(rows[name], name, told.columns) for name in numbers) if told.noise else True
    for name, there, lacking in (
        ("flip", shown, "no input is an image or a video"),
        ("shift", shown, "no input is an image or a video"),
        ("pixel_noise", shown, "no input is an image or a video"),
        ("drop_words", texts, "no input is a text"),
        ("swap_words", texts, "no input is a text"),
        ("noise", measured, "no input holds fractions: name the numbers that get it in columns"),
    ):
        if getattr(told, name) and not there:
            raise UsageError(f"[training.augment] {name} changes nothing: {lacking}")


def _changed(rows: pd.DataFrame, told: Augment, inputs: tuple[Column, ...], rng: np.random.Generator) -> pd.DataFrame:
    found = rows.copy()
    for column in inputs:
        values = rows[column.name]
        if column.kind == "text" and (told.drop_words or told.swap_words):
            found[column.name] = [_words(text, told, rng) for text in values]
        elif column.prepare is not None and (told.flip or told.shift or told.pixel_noise):
            cells = np.empty(len(values), dtype=object)
            for place, pixels in enumerate(values):
                cells[place] = _picture(pixels, told, rng)
            found[column.name] = cells
        elif column.dtype == "float64" and told.noise and _noisy(values, column.name, told.columns):
            found[column.name] = values + rng.normal(0, told.noise * float(values.std(ddof=0)), len(values))
    return found


def _noisy(values: pd.Series[Any], name: str, chosen: tuple[str, ...]) -> bool:
    """Tell whether a column gets noise: one that is named, else one of fractions (an hour is no measurement)."""
    return name in chosen if chosen else bool((values.dropna() % 1 != 0).any())


def _words(text: str, told: Augment, rng: np.random.Generator) -> str:
    words = text.split()
    kept = [word for word in words if rng.uniform() >= told.drop_words] or words[:1]
    for place in range(len(kept) - 1):
        if rng.uniform() < told.swap_words:
            kept[place], kept[place + 1] = kept[place + 1], kept[place]
    return " ".join(kept)


def _picture(pixels: Pixels, told: Augment, rng: np.random.Generator) -> Pixels:
    """Return an image of shape (height, width, channels), or a video with its frames first, changed as a whole."""
    if rng.uniform() < told.flip:
        pixels = pixels[..., ::-1, :]
    if reach := told.shift:
        height, width = pixels.shape[-3:-1]
        margin = [*[(0, 0)] * (pixels.ndim - 3), (reach, reach), (reach, reach), (0, 0)]
        down, right = rng.integers(0, 2 * reach + 1, 2)
        pixels = np.pad(pixels, margin, mode="edge")[..., down : down + height, right : right + width, :]
    if told.pixel_noise:
        noisy = pixels + rng.normal(0, told.pixel_noise * 255, pixels.shape)
        pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return pixels


def _balanced(rows: pd.DataFrame, target: pd.Series[Any], how: str, seed: int) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return rows in which each class is as frequent as the most frequent one."""
    if len(target.unique()) < 2:
        return rows, target
    try:
        from imblearn.over_sampling import SMOTE, SMOTENC, RandomOverSampler
    except ModuleNotFoundError:
        raise UsageError(
            "[training.augment] balance needs imbalanced-learn: pip install 'everloop[imbalanced]'"
        ) from None
    texts = [name for name in rows.columns if not pd.api.types.is_float_dtype(rows[name])]
    sampler: Any = RandomOverSampler(random_state=seed)
    if how == "smote":
        _check_between(rows, target, texts)
        neighbours = min(5, int(target.value_counts().min()) - 1)
        make: Callable[..., Any] = SMOTENC if texts else SMOTE
        named = {"categorical_features": texts} if texts else {}
        sampler = make(random_state=seed, k_neighbors=neighbours, **named)
    found, answers = sampler.fit_resample(rows, target)
    return found.astype(rows.dtypes.to_dict()), answers.astype(target.dtype)


def _check_between(rows: pd.DataFrame, target: pd.Series[Any], texts: list[str]) -> None:
    """Raise `UsageError` where no row lies between two others."""
    if gaps := [name for name in rows.columns if rows[name].isna().any()]:
        raise UsageError(f"[training.augment] balance = 'smote': column {gaps[0]!r} has gaps: take balance = 'repeat'")
    if shown := [name for name in texts if isinstance(rows[name].iloc[0], np.ndarray)]:
        told = f"nothing lies between two pictures, which column {shown[0]!r} holds: take balance = 'repeat'"
        raise UsageError(f"[training.augment] balance = 'smote': {told}")
    if len(texts) == len(rows.columns):
        raise UsageError("[training.augment] balance = 'smote' needs a number among the inputs: take 'repeat'")
    if (counts := target.value_counts()).min() < 2:
        told = f"class {counts.idxmin()!r} has one row: take balance = 'repeat'"
        raise UsageError(f"[training.augment] balance = 'smote': {told}")
