"""A chain of STEPS steps in ZenML's local stack, with its cache."""

import os

from zenml import pipeline, step

STEPS = int(os.environ["STEPS"])


@step
def add(number: int, by: int) -> int:
    return number + by


@pipeline
def chain():
    number = 1
    for by in range(STEPS):
        number = add(number, by)


if __name__ == "__main__":
    chain()
