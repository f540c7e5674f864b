"""Rows are made from the rows of a fit, the same each time, and of nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from everloop.errors import UsageError
from everloop.settings import Augment
from everloop.training.augment import Augmented, augment, augment_images
from everloop.types import Column

INPUTS = (Column("a", "float64"), Column("hour", "float64"), Column("text", "string", "text"))


def rows(n: int = 40) -> tuple[pd.DataFrame, pd.Series[float]]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=n), "hour": np.arange(n) % 24.0, "text": ["call me now or never"] * n})
    return frame, pd.Series(frame["a"] * 2, name="y")


def test_copies_lie_below_the_rows_and_are_the_same_again() -> None:
    frame, target = rows()
    told = Augment(copies=2, noise=0.1, drop_words=0.3, swap_words=0.3)
    found, answers = augment(frame, target, told, INPUTS, seed=3)
    assert (len(found), len(answers)) == (120, 120)
    pd.testing.assert_frame_equal(found.iloc[:40], frame)
    assert answers.tolist() == [*target, *target, *target]
    assert 0 < float((found["a"].iloc[40:80].to_numpy() - frame["a"]).abs().mean()) < 0.3
    assert found["hour"].iloc[40:80].tolist() == frame["hour"].tolist()  # whole numbers are no measurements
    made = found["text"].iloc[40:]
    assert made.nunique() > 5
    assert all(set(text.split()) <= {"call", "me", "now", "or", "never"} for text in made)
    assert made.str.len().min() > 0
    again, _ = augment(frame, target, told, INPUTS, seed=3)
    pd.testing.assert_frame_equal(again, found)
    other, _ = augment(frame, target, told, INPUTS, seed=4)
    assert not other.equals(found)


def test_only_a_fit_sees_them() -> None:
    frame, target = rows()
    seen = []

    class Counting(LinearRegression):  # type: ignore[misc]
        def fit(self, x: pd.DataFrame, y: pd.Series[float]) -> Counting:
            seen.append(len(x))
            super().fit(x, y)
            return self

        def predict(self, x: pd.DataFrame) -> object:
            seen.append(len(x))
            return super().predict(x)

    numbers = frame[["a", "hour"]]
    fitted = Augmented(Counting(), Augment(copies=3, noise=0.1), INPUTS[:2], 0).fit(numbers, target)
    assert isinstance(fitted, Counting)
    fitted.predict(numbers)
    assert seen == [160, 40]


@pytest.mark.parametrize("how", ["repeat", "smote"])
def test_rare_classes_become_frequent(how: str) -> None:
    frame, _ = rows()
    target = pd.Series(["no"] * 34 + ["yes"] * 6)
    found, answers = augment(frame, target, Augment(balance=how), INPUTS, seed=1)  # type: ignore[arg-type]
    assert answers.value_counts().to_dict() == {"no": 34, "yes": 34}
    rare = frame["a"].iloc[34:]
    assert found["a"][answers == "yes"].between(rare.min(), rare.max()).all()
    assert list(found.columns) == list(frame.columns)


def test_no_row_lies_between_rows_with_gaps() -> None:
    frame, _ = rows()
    frame.loc[3, "a"] = np.nan
    target = pd.Series(["no"] * 34 + ["yes"] * 6)
    with pytest.raises(UsageError, match="column 'a' has gaps: take balance = 'repeat'"):
        augment(frame, target, Augment(balance="smote"), INPUTS, seed=1)


def test_images_keep_shape_range_and_seed() -> None:
    images = np.random.default_rng(0).uniform(size=(12, 8, 6, 3))
    one, two = (augment_images(images, np.random.default_rng(5), flip=0.5, shift=2, noise=0.05) for _ in range(2))
    assert one.shape == images.shape
    assert (one == two).all()
    assert not (one == images).all()
    assert one.min() >= images.min()
    assert one.max() <= images.max()
    mirrored = augment_images(images, np.random.default_rng(5), flip=1.0)
    assert (mirrored == images[:, :, ::-1]).all()
