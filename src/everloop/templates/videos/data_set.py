"""Write videos of scikit-learn's handwritten digits, shaken and noisy, and a table: python data_set.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SIDE, FRAMES = 48, 12


def write(folder: Path, most: int = 600) -> Path:
    """Return the table, beside which the folder `clips` lies."""
    digits, rng = load_digits(), np.random.default_rng(0)
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    names = [f"clips/{place:04}.mp4" for place in range(most)]
    for name, pixels in zip(names, digits.images, strict=False):
        _film(folder / name, pixels / 16, rng)
    table = folder / "videos.csv"
    pd.DataFrame({"video": names, "digit": digits.target[:most]}).to_csv(table, index=False)
    return table


def _film(path: Path, pixels: NDArray[np.float64], rng: np.random.Generator) -> None:
    large = np.kron(pixels, np.ones((4, 4))) * 160
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        for _ in range(FRAMES):
            page = rng.normal(60, 50, (SIDE, SIDE))
            down, right = rng.integers(7, 10, 2)
            page[down : down + 32, right : right + 32] += large
            grey = np.clip(page, 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
