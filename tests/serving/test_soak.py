"""Two hundred thousand requests while plan and version change every second: none fails, none is lost or doubled."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import UUID

import msgspec
import psutil
import pytest
from tests.serving.sites import Site, Start, named, read_journal

REQUESTS, CONNECTIONS = 200_000, 16
BODY = msgspec.json.encode(named(1.0, id="00000000-0000-0000-0000-000000000000"))
ANSWERS = {"v1": 1.75, "v2": 1001.75}


class Answer(msgspec.Struct):
    """What is looked at in an answer."""

    model_version: str
    id: str
    outputs: list[dict[str, object]]


def name_of(number: int) -> str:
    return str(UUID(int=number))


async def ask(port: int, numbers: list[int], answered: dict[int, str]) -> None:
    """Send one request after the other over one connection, and note who answered each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    decode = msgspec.json.Decoder(Answer).decode
    before, after = BODY.split(b"00000000-0000-0000-0000-000000000000")
    head = (
        f"POST /v2/models/rides/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode()
    for number in numbers:
        writer.write(head + before + name_of(number).encode() + after)
        header = await reader.readuntil(b"\r\n\r\n")
        assert header.startswith(b"HTTP/1.1 200"), header
        length = int(header.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = decode(await reader.readexactly(length))
        assert answer.outputs[0]["data"] == [ANSWERS[answer.model_version]]
        assert answer.id == name_of(number)
        answered[number] = answer.model_version
    writer.close()
    await writer.wait_closed()


async def swap(site: Site, ended: asyncio.Event) -> int:
    """Change champion and shares once a second; returns how often."""
    generation = 1
    while not ended.is_set():
        generation += 1
        champion = "v1" if generation % 2 else "v2"
        await asyncio.to_thread(site.write, generation, (generation % 5) / 5, champion)
        try:
            await asyncio.wait_for(ended.wait(), 1.0)
        except TimeoutError:
            continue
    return generation


@pytest.mark.slow
def test_soak(site: Site, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    site.write(1)
    answered: dict[int, str] = {}

    async def load(port: int, server: psutil.Process) -> tuple[int, list[float]]:
        ended, memory = asyncio.Event(), list[float]()
        swapping = asyncio.create_task(swap(site, ended))
        for part in range(8):
            numbers = range(part * REQUESTS // 8, (part + 1) * REQUESTS // 8)
            await asyncio.gather(*(ask(port, list(numbers[n::CONNECTIONS]), answered) for n in range(CONNECTIONS)))
            memory.append(server.memory_info().rss / 2**20)
        ended.set()
        return await swapping, memory

    with start(site) as running:
        began = time.perf_counter()
        swaps, memory = asyncio.run(load(int(running.url.rpartition(":")[2]), psutil.Process(running.pid)))
        took = time.perf_counter() - began
    with capsys.disabled():
        print(f"\n{REQUESTS} requests in {took:.0f} s, {swaps} plans, resident MiB {memory[0]:.0f} to {memory[-1]:.0f}")
    assert len(answered) == REQUESTS
    assert swaps > took / 2
    assert memory[-1] < memory[1] * 1.05 + 2
    records = [record for record in read_journal(Path(site.journal)) if record.kind == "prediction"]
    journalled = [(record.id, version_of(bytes(record.payload))) for record in records]
    assert len(journalled) == REQUESTS
    assert dict(journalled) == {name_of(number): version for number, version in answered.items()}


class Version(msgspec.Struct):
    version: str


def version_of(payload: bytes) -> str:
    return msgspec.json.decode(payload, type=Version).version
