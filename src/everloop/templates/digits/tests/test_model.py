"""The pictures can be read, and the model tells them apart."""

from pathlib import Path

import numpy as np
import pandas as pd
from data_set import write
from model import model
from PIL import Image

from everloop.training.flat import Flat


def test_the_model_learns(tmp_path: Path) -> None:
    table = pd.read_csv(write(tmp_path, 300))
    pixels = [np.asarray(Image.open(tmp_path / name))[..., None] for name in table["image"]]
    rows = pd.DataFrame({"image": pd.Series(pixels)})
    fitted = Flat(model()).fit(rows[:200], table["digit"][:200])
    assert (fitted.predict(rows[200:]) == table["digit"][200:]).mean() > 0.8
