"""Delay, missed changes and false alarms of drift detectors, by the day, on streams with known change points.

Eight weeks of reference, sixty days live of 48 rows, the change on the thirtieth; rows are autocorrelated (0.6).
An alarm is a signal that begins to fire. A stream's false alarms are those before its change, or all of them where it
has none. In the concept stream only the loss is watched. Peers run untuned, in environments of their own by uv.

    python bench/detectors [--seeds 5] [--peers river,evidently,nannyml]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import ours
import peers
from streams import Stream, real, seeded


def main() -> None:
    """Print a table by kind of stream and detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", default="", help=f"of {', '.join(peers.PEERS)}, or all")
    told = parser.parse_args()
    asked = list(peers.PEERS) if told.peers == "all" else [name for name in told.peers.split(",") if name]
    streams = [*seeded(told.seeds), *real()]
    found = _ours(streams)
    with tempfile.TemporaryDirectory() as place:
        for number, stream in enumerate(streams):
            kind = "loss" if _is_concept(stream) else "inputs"
            stream.rows.to_csv(Path(place, f"{number:03}-{kind}.csv"), index=False)
        for name in asked:
            for detector, alarms in peers.alarms(name, Path(place)).items():
                found[detector] = dict(enumerate(alarms))
    for kind in dict.fromkeys(stream.name for stream in streams):
        _table(kind, streams, found)


def _ours(streams: list[Stream]) -> dict[str, dict[int, list[int]]]:
    found: dict[str, dict[int, list[int]]] = {}
    for number, stream in enumerate(streams):
        told = ours.losses(stream.rows) if _is_concept(stream) else {"everloop data_drift": ours.inputs(stream.rows)}
        for name, alarms in told.items():
            found.setdefault(name, {})[number] = alarms
    return found


def _table(kind: str, streams: list[Stream], found: dict[str, dict[int, list[int]]]) -> None:
    chosen = [number for number, stream in enumerate(streams) if stream.name == kind]
    print(f"\n{kind + f' ({len(chosen)} streams)':<40}{'delay, days':>12}{'missed':>8}{'false alarms a month':>22}")
    for name, by_stream in found.items():
        if not all(number in by_stream for number in chosen):
            continue
        delays, missed, false, days = [], 0, 0, 0
        for number in chosen:
            change, alarms = streams[number].change, by_stream[number]
            calm = change if change is not None else int(streams[number].rows["day"].max()) + 1
            false, days = false + sum(alarm < calm for alarm in alarms), days + calm
            after = [alarm - change + 1 for alarm in alarms if change is not None and alarm >= change]
            delays += [min(after)] if after else []
            missed += change is not None and not after
        delay = f"{statistics.median(delays):.0f}" if delays else "-"
        shown = f"{missed}" if streams[chosen[0]].change is not None else "-"
        rate = f"{30 * false / days:.2f}" if days else "-"
        print(f"{name:<40}{delay:>12}{shown:>8}{rate:>22}")


def _is_concept(stream: Stream) -> bool:
    return stream.name.startswith("loss")


if __name__ == "__main__":
    main()
