"""nannyml's univariate drift by day (Jensen-Shannon, thresholds of three deviations of the reference's chunks)."""

import json
import sys
from pathlib import Path

import nannyml
import pandas as pd

found = []
for path in sorted(Path(sys.argv[1]).glob("*.csv")):
    rows = pd.read_csv(path)
    names = ["loss"] if path.stem.endswith("loss") else [n for n in rows.columns if n not in ("loss", "day")]
    names = [n for n in names if rows[n].nunique() > 1]
    rows["timestamp"] = pd.Timestamp("2024-06-01") + pd.to_timedelta(rows["day"], unit="D")
    known, live = rows[rows["day"] < 0], rows[rows["day"] >= 0]
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=names, timestamp_column_name="timestamp", chunk_period="D",
        continuous_methods=["jensen_shannon"], categorical_methods=["jensen_shannon"],
    )  # fmt: skip
    table = calculator.fit(known).calculate(live).filter(period="analysis").to_df(multilevel=True)
    days = (table[("chunk", "chunk", "start_date")].dt.normalize() - pd.Timestamp("2024-06-01")).dt.days.tolist()
    alarms = []
    for name in names:
        rang = table[(name, "jensen_shannon", "alert")].astype(bool).tolist()
        alarms += [days[i] for i, now in enumerate(rang) if now and not (i and rang[i - 1])]
    found.append(sorted(alarms))
print(json.dumps({"nannyml, Jensen-Shannon": found}))
