"""The trivial pipeline that `bench/pipelines.py` measures; steps that another process imports need a module."""

from __future__ import annotations

from everloop.pipelines import Pipeline, pipeline, step


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
