"""Batches under a virtual clock: never too large, never too late, every caller its own answer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.serving.batching import Arrays, Batcher, Batching


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while everybody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = selectors.DefaultSelector()
        select = selector.select

        def skip(timeout: float | None = None) -> Any:
            self.now += timeout or 0.0
            return select(0)

        selector.select = skip  # type: ignore[method-assign]
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(main: Coroutine[Any, Any, Any]) -> Any:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


class Model:
    """Doubles its rows, remembers the sizes of its batches, and fails on a negative number."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, arrays: Any) -> Arrays:
        self.sizes.append(len(arrays["x"]))
        if (arrays["x"] < 0).any():
            raise ValueError("negative")
        return {"y": 2 * arrays["x"]}


REQUEST = st.tuples(
    st.floats(0, 0.05), st.integers(1, 12), st.sampled_from(["answer", "answer", "answer", "give up", "fail"])
)


@given(st.lists(REQUEST, min_size=1, max_size=40), st.integers(1, 10), st.sampled_from([0.0, 0.001, 0.01]))
@settings(max_examples=150)
def test_nobody_waits_too_long_in_a_batch_too_large_or_for_a_neighbour(
    asked: list[tuple[float, int, str]], rows: int, seconds: float
) -> None:
    async def main() -> None:
        model, loop = Model(), asyncio.get_running_loop()
        batcher = Batcher(model.predict, Batching(rows, seconds))
        outcomes: dict[int, str] = {}

        async def call(number: int, after: float, size: int, ending: str) -> None:
            await asyncio.sleep(after)
            given, start = np.full(size, float(-number - 1 if ending == "fail" else number)), loop.time()
            task = asyncio.ensure_future(batcher.predict({"x": given}, size))
            if ending == "give up":
                await asyncio.sleep(0)
                task.cancel()
            try:
                found, together = await task
            except asyncio.CancelledError:
                outcomes[number] = "give up"
            except ValueError:
                outcomes[number] = "fail"
            else:
                outcomes[number] = "answer"
                assert found["y"].tolist() == [2.0 * number] * size
                assert size <= together <= max(rows, size)
            assert loop.time() - start <= seconds + 1e-9

        await asyncio.gather(*(call(n, *one) for n, one in enumerate(asked)))
        for number, (_, size, ending) in enumerate(asked):
            wanted = {ending, "answer"} if ending == "give up" else {ending}
            assert outcomes[number] in wanted, (number, size, outcomes)
        assert max(model.sizes, default=0) <= max(rows, *(size for _, size, _ in asked))

    run(main())


def test_rows_that_arrive_together_are_computed_together() -> None:
    async def main() -> None:
        model = Model()
        batcher = Batcher(model.predict, Batching(8, 0.01))
        calls = [batcher.predict({"x": np.array([float(n)])}, 1) for n in range(20)]
        assert [float(found["y"][0]) for found, _ in await asyncio.gather(*calls)] == [2.0 * n for n in range(20)]
        assert model.sizes == [8, 8, 4]

    run(main())


def test_a_large_request_goes_at_once_and_alone() -> None:
    async def main() -> None:
        model = Model()
        batcher = Batcher(model.predict, Batching(8, 60.0))
        found, together = await batcher.predict({"x": np.arange(9.0)}, 9)
        assert (len(found["y"]), together) == (9, 9)
        assert asyncio.get_running_loop().time() == 0.0

    run(main())


def test_by_default_nothing_waits() -> None:
    async def main() -> None:
        batcher = Batcher(Model().predict, Batching())
        assert (await batcher.predict({"x": np.array([4.0])}, 1))[1] == 1

    run(main())


def test_one_that_fails_fails_alone() -> None:
    async def main() -> None:
        batcher = Batcher(Model().predict, Batching(3, 0.01))
        calls = [batcher.predict({"x": np.array([value])}, 1) for value in (1.0, -1.0, 3.0)]
        first, second, third = await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(ValueError, match="negative"):
            raise second if isinstance(second, BaseException) else AssertionError
        assert not isinstance(first, BaseException)
        assert not isinstance(third, BaseException)
        assert (first[0]["y"][0], third[0]["y"][0]) == (2.0, 6.0)

    run(main())
