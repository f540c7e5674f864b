"""Rows are made from the rows of a fit, the same each time, and of nothing else."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from everloop.errors import UsageError
from everloop.inference.media import media_column
from everloop.settings import Augment
from everloop.training.augment import Augmented, augment
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


@pytest.mark.parametrize(
    ("told", "lacking"),
    [
        (Augment(copies=1, flip=0.5), "flip changes nothing: no input is an image or a video"),
        (Augment(copies=1, noise=0.1, drop_words=0.1), "drop_words changes nothing: no input is a text"),
        (Augment(copies=1, noise=0.1), "noise changes nothing: no input holds fractions: name the numbers"),
    ],
)
def test_a_change_of_what_no_input_is_is_refused(told: Augment, lacking: str) -> None:
    frame, target = rows()
    with pytest.raises(UsageError, match=lacking):
        augment(frame[["hour"]], target, told, INPUTS[1:2], seed=3)


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


@pytest.mark.parametrize("shape", [(8, 6, 3), (4, 8, 6, 3)])
def test_images_and_videos_are_changed_as_a_whole(shape: tuple[int, ...]) -> None:
    kind: Literal["image", "video"] = "image" if len(shape) == 3 else "video"
    inputs = (media_column("shown", kind, (8, 6), "RGB", 4),)
    rng, cells = np.random.default_rng(0), np.empty(12, dtype=object)
    for place in range(12):
        cells[place] = rng.integers(0, 256, shape, np.uint8)
    frame, target = pd.DataFrame({"shown": cells}), pd.Series(np.arange(12.0))

    def made(**told: Any) -> list[NDArray[np.uint8]]:
        found, answers = augment(frame, target, Augment(copies=1, **told), inputs, seed=5)
        assert answers.tolist() == [*target, *target]
        assert all((a == b).all() for a, b in zip(found["shown"][:12], cells, strict=True))
        copies: list[NDArray[np.uint8]] = found["shown"][12:].tolist()
        assert all(one.shape == shape and one.dtype == np.uint8 for one in copies)
        return copies

    assert all((a == b[..., ::-1, :]).all() for a, b in zip(made(flip=1.0), cells, strict=True))
    for one, cell in zip(made(shift=2), cells, strict=True):  # the middle of one lies somewhere in the other
        inner = one[..., 2:6, 2:4, :]
        places = [cell[..., y : y + 4, x : x + 2, :] for y in range(5) for x in range(5)]
        assert any((inner == place).all() for place in places)
    noisy, again = made(pixel_noise=0.01), made(pixel_noise=0.01)
    assert all((a == b).all() for a, b in zip(noisy, again, strict=True))
    moved = np.abs(np.stack(noisy).astype(int) - np.stack(list(cells)))
    assert 0 < moved.mean() < 5


def test_rare_images_are_repeated() -> None:
    cells = np.empty(8, dtype=object)
    for place in range(8):
        cells[place] = np.full((2, 2, 1), place, np.uint8)
    inputs = (media_column("shown", "image", (2, 2), "L", 1),)
    target = pd.Series(["no"] * 6 + ["yes"] * 2)
    found, answers = augment(pd.DataFrame({"shown": cells}), target, Augment(balance="repeat"), inputs, seed=1)
    assert answers.value_counts().to_dict() == {"no": 6, "yes": 6}
    with pytest.raises(UsageError, match="nothing lies between two pictures, which column 'shown' holds"):
        augment(pd.DataFrame({"shown": cells}), target, Augment(balance="smote"), inputs, seed=1)
    assert {int(one[0, 0, 0]) for one in found["shown"][answers == "yes"]} <= {6, 7}


def test_a_column_that_is_not_there_is_told() -> None:
    frame, target = rows()
    with pytest.raises(UsageError, match="columns: there is no input 'hours'"):
        augment(frame, target, Augment(copies=1, noise=0.1, columns=("hours",)), INPUTS, seed=1)
