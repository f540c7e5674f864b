"""The trivial pipelines that `bench/pipelines` measures; steps that another process imports need a module."""

from __future__ import annotations

from everloop.pipelines import Pipeline, each, pipeline, step


@step(preload=(__name__,))
def add(number: int, by: int) -> int:
    """Return the sum."""
    return number + by


def chain(steps: int) -> Pipeline[[int], int]:
    """Return a pipeline of so many steps, each waiting for the one before."""

    @pipeline
    def chain(number: int) -> int:
        for by in range(steps):
            number = add(number, by)
        return number

    return chain


@step(preload=(__name__,))
def numbers(count: int) -> list[int]:
    """Return so many numbers."""
    return list(range(count))


@pipeline
def fan(count: int) -> list[int]:
    """Add one to each of so many numbers, a call each."""
    return add.map(each(numbers(count)), 1)
