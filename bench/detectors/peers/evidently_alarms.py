"""evidently's default tests of each column, a report a day against the reference; an alarm is a column's drift."""

import json
import sys
from pathlib import Path

import pandas as pd
from evidently import Report
from evidently.metrics import ValueDrift

found = []
for path in sorted(Path(sys.argv[1]).glob("*.csv")):
    rows = pd.read_csv(path)
    names = ["loss"] if path.stem.endswith("loss") else [n for n in rows.columns if n not in ("loss", "day")]
    names = [n for n in names if rows[n].nunique() > 1]
    known, alarms, before = rows[rows["day"] < 0][names], [], set()
    for day, part in rows[rows["day"] >= 0].groupby("day"):
        told = Report([ValueDrift(column=n) for n in names]).run(part[names], known).dict()["metrics"]
        now = set()
        for name, metric in zip(names, told, strict=True):
            config, value = metric["config"], float(metric["value"])
            p_value = "p_value" in (config.get("method") or metric["metric_name"])
            if value < config["threshold"] if p_value else value >= config["threshold"]:
                now.add(name)
        alarms += [int(day)] * len(now - before)
        before = now
    found.append(alarms)
print(json.dumps({"evidently, default tests": found}))
