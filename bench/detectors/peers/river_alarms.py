"""river's detectors, untuned, on each number (and the loss) row by row, after the reference's rows."""

import json
import sys
from pathlib import Path

import pandas as pd
from river import drift

DETECTORS = {"river ADWIN": drift.ADWIN, "river Page-Hinkley": drift.PageHinkley}
found = {name: [] for name in DETECTORS}
for path in sorted(Path(sys.argv[1]).glob("*.csv")):
    rows = pd.read_csv(path)
    names = ["loss"] if path.stem.endswith("loss") else [n for n in rows.columns if n not in ("city", "loss", "day")]
    days = rows["day"].tolist()
    for name, make in DETECTORS.items():
        alarms = []
        for column in names:
            detector = make()
            for day, value in zip(days, rows[column].tolist(), strict=True):
                detector.update(value)
                if detector.drift_detected and day >= 0:
                    alarms.append(day)
        found[name].append(sorted(alarms))
print(json.dumps(found))
