"""What the journal's evidence costs: writing, sealing, verifying, finding one prediction, exporting; per record.

python bench/audit.py [--records 100000]
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from everloop.bundles import SigningKey, trusted
from everloop.journal import Writer
from everloop.journal.sealing import seal, verify
from everloop.journal.search import find
from everloop.journal.segments import path_of, segments
from everloop.types import Prediction, new_id

COLUMNS = [f"x{i}" for i in range(12)]


def main() -> None:
    """Print CPU microseconds a record of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    count = parser.parse_args().records
    payload = msgspec.json.encode(
        Prediction("rides", "v1", {name: [i + 0.5] for i, name in enumerate(COLUMNS)}, {"prediction": [17.25]})
    )
    with tempfile.TemporaryDirectory() as folder:
        journal, keys = Path(folder) / "journal", Path(folder) / "keys"
        key, ids = SigningKey.create(keys), [new_id(float(n)) for n in range(count)]

        def write() -> None:
            with contextlib.closing(Writer(journal)) as writer:
                for number, id in enumerate(ids, 1):
                    writer.append("prediction", id, float(number), payload)
                    if number % 16 == 0:
                        writer.flush()

        told("written, 16 at a time", write, count)
        size = sum(path_of(journal, s).stat().st_size for s in segments(journal))
        print(f"{count:,} records of {len(payload)} bytes of payload, {size / 2**20:.0f} MiB")
        told("sealed", lambda: seal(journal, key, trusted(keys), 1.0), count)
        told("verified", lambda: verify(journal, trusted(keys)), count)
        told("one prediction found, all read", lambda: find(journal, ids[count // 2]), count)


def told(what: str, work: Callable[[], Any], count: int) -> None:
    began = time.process_time()
    work()
    print(f"{what:32}{(time.process_time() - began) / count * 1e6:8.2f} us a record")


if __name__ == "__main__":
    main()
