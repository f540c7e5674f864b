"""What computes the answers: the ONNX Runtime build and the CPU features; journalled at each start of a server."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec

from everloop.errors import JournalError
from everloop.journal.records import Record, decode
from everloop.journal.segments import path_of, segments
from everloop.journal.writer import Writer
from everloop.types import new_id

__all__ = ["SERVER", "Machine", "announce", "server_before", "this_machine"]

SERVER = "server"
CPUINFO = Path("/proc/cpuinfo")
_VECTORS = ("sse", "ssse", "avx", "amx", "fma", "f16c", "asimd", "neon", "sve", "sme", "i8mm", "bf16")

_COMPARED = (("ONNX Runtime", "onnxruntime"), ("its build", "build"), ("CPU", "architecture"), ("threads", "threads"))


class Machine(msgspec.Struct, frozen=True):
    """Answers of equal inputs in equal batches are equal bit for bit where all of this is equal, but for `cpu`."""

    onnxruntime: str
    build: str
    architecture: str
    features: list[str]
    threads: int = 1
    cpu: str = ""

    def differences(self, other: Machine) -> list[str]:
        """Return, a phrase each, what differs that may change the bits of an answer."""
        phrases = [
            f"{name} {getattr(other, field)}, then {getattr(self, field)}"
            for name, field in _COMPARED
            if getattr(self, field) != getattr(other, field)
        ]
        if changed := sorted(set(self.features) ^ set(other.features)):
            phrases.append(f"CPU features {', '.join(changed)}")
        return phrases


def this_machine(threads: int = 1, cpuinfo: Path = CPUINFO) -> Machine:
    """Return what computes here, with so many threads an inference; the kernel knows the CPU features (Linux)."""
    import onnxruntime

    told = _first_processor(cpuinfo)
    flags = (told.get("flags") or told.get("Features") or "").split()
    return Machine(
        onnxruntime=onnxruntime.__version__,
        build=onnxruntime.get_build_info(),
        architecture=platform.machine(),
        features=sorted(flag for flag in set(flags) if flag.startswith(_VECTORS)),
        threads=threads,
        cpu=told.get("model name", platform.processor()),
    )


def announce(writer: Writer, time: float, threads: int = 1) -> None:
    """Queue what computes here, to be written with the first record that follows."""
    writer.append(SERVER, new_id(time), time, msgspec.json.encode(this_machine(threads)))


def server_before(folder: Path, number: int) -> Machine | None:
    """Return what the server told at the last start before a record; None where none did."""
    for segment in reversed(segments(folder)):
        for record in reversed(_told(path_of(folder, segment))):
            if record.number < number:
                return record.read(Machine)
    return None


def _told(path: Path) -> list[Record]:
    try:
        with path.open("rb") as file:
            return [decode(line, path) for line in file if b'"kind":"server",' in line[:40] and line.endswith(b"\n")]
    except FileNotFoundError:  # removed just now
        return []
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be read: {error.strerror}") from error


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    try:
        text = cpuinfo.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
