"""How long each recipe takes to its first version, on its real data: `python bench/recipes.py DATA [NAME ...]`.

DATA is the folder that holds bike-sharing/, adult/, sms-spam/ and houses/; digits and videos make their own. Timed is
`everloop run` in a process of its own, on an empty cache: ingest, choice of the window, training, bundle, gates.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from command import everloop, timed

RECIPES = {
    "bike-sharing": "bike-sharing/hour.csv",
    "adult": "adult/adult.csv",
    "sms-spam": "sms-spam/SMSSpamCollection",
    "digits": "",
    "digits, network": "",
    "videos": "",
    "houses": "houses/houses.csv",
}


def main() -> None:
    """Print a line a recipe."""
    asked = argparse.ArgumentParser()
    asked.add_argument("data", type=Path)
    asked.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECIPES))
    told = asked.parse_args()
    print(f"{'recipe':<16}{'rows':>8}{'seconds':>10}{'CPU s':>8}{'MiB':>8}")
    for name in told.names or RECIPES:
        if name.endswith("network") and find_spec("torch") is None:
            print(f"{name:<16} left out: no PyTorch here (everloop[torch])")
            continue
        with tempfile.TemporaryDirectory(prefix="everloop-bench-") as place:
            rows, (seconds, cpu, memory) = _recipe(name, told.data.resolve(), Path(place))
        print(f"{name:<16}{rows:>8,}{seconds:>10.1f}{cpu:>8.1f}{memory:>8.0f}", flush=True)


def _recipe(name: str, data: Path, place: Path) -> tuple[int, tuple[float, float, float]]:
    template, folder = name.partition(",")[0], place / "project"
    everloop(place, "init", str(folder), "--template", template)
    settings = folder / "everloop.toml"
    if name.endswith("network"):
        settings.write_text(settings.read_text().replace('"model:model"', '"model:network"'))
    table = data / RECIPES[name]
    if not RECIPES[name]:
        subprocess.run([sys.executable, folder / "data_set.py", place / "made"], check=True, capture_output=True)
        table = place / "made" / f"{template}.csv"
    elif not table.suffix:  # tab-separated, as its template reads it
        table = place / f"{table.name}.tsv"
        table.write_bytes((data / RECIPES[name]).read_bytes())
    everloop(folder, "data", "add", str(table))
    with table.open("rb") as file:
        rows = sum(1 for _ in file) - 1
    return rows, timed(folder, "run")


if __name__ == "__main__":
    main()
