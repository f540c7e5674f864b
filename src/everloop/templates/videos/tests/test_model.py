"""The videos can be decoded, and the model tells them apart."""

from pathlib import Path

import pandas as pd
from data_set import write
from model import model

from everloop.inference.media import arrays_of, media_column, text_of


def test_the_model_learns(tmp_path: Path) -> None:
    table = pd.read_csv(write(tmp_path, 200))
    column = media_column("video", "video", (24, 24), "L", 8)
    videos = arrays_of(column, [text_of((tmp_path / name).read_bytes()) for name in table["video"]])
    rows = pd.DataFrame({"video": pd.Series(list(videos))})
    fitted = model().fit(rows[:150], table["digit"][:150])
    assert (fitted.predict(rows[150:]) == table["digit"][150:]).mean() > 0.6
