"""Write scikit-learn's handwritten digits as pictures and a table: python data_set.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits


def write(folder: Path, most: int = 1797) -> Path:
    """Return the table, beside which the folder `images` lies."""
    digits = load_digits()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = [f"images/{place:04}.png" for place in range(min(most, len(digits.target)))]
    for name, pixels in zip(names, digits.images, strict=False):
        Image.fromarray(np.round(pixels * 255 / 16).astype(np.uint8)).save(folder / name)
    table = folder / "digits.csv"
    pd.DataFrame({"image": names, "digit": digits.target[: len(names)]}).to_csv(table, index=False)
    return table


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
