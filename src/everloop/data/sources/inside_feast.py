"""Runs inside of Feast's own environment: `inside_feast.py ORDER FOUND` joins features to rows, point in time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from feast import FeatureStore

ROW, TIME = "everloop_row", "event_timestamp"


def main(order: Path, found: Path) -> None:
    """Write a JSON line for each row of the order, in its order."""
    told = json.loads(order.read_text())
    rows, store = pd.DataFrame(told["rows"]), FeatureStore(repo_path=told["repository"])
    moments = rows[told["time"]]
    unit: Any = {"unit": "s"} if pd.api.types.is_numeric_dtype(moments) else {}
    asked = rows.assign(**{ROW: range(len(rows)), TIME: pd.to_datetime(moments, utc=True, **unit)})
    joined = store.get_historical_features(entity_df=asked, features=_features(store, told["features"])).to_df()
    joined = joined.sort_values(ROW).drop(columns=[ROW, *([TIME] if told["time"] != TIME else [])])
    joined[told["time"]] = moments.to_numpy()
    plain = joined.astype(object).where(joined.notna(), None).to_dict("records")
    found.write_text("".join(json.dumps(row, default=_plain) + "\n" for row in plain))


def _features(store: Any, names: list[str]) -> Any:
    """Return what Feast takes: `view:feature` names, or a feature service."""
    return store.get_feature_service(names[0]) if len(names) == 1 and ":" not in names[0] else names


def _plain(value: Any) -> Any:
    """Return a value of numpy or pandas as JSON has it."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value.tolist() if hasattr(value, "tolist") else str(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
