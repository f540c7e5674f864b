"""A chain of STEPS steps as Dagster ops, in process, with its instance in DAGSTER_HOME."""

import os

from dagster import DagsterInstance, graph, op

STEPS = int(os.environ["STEPS"])


@op
def start() -> int:
    return 1


def add(by: int):
    @op(name=f"add_{by}")
    def inner(number: int) -> int:
        return number + by

    return inner


ops = [add(by) for by in range(1, STEPS)]


@graph
def chain():
    number = start()
    for one in ops:
        number = one(number)


if __name__ == "__main__":
    result = chain.to_job().execute_in_process(instance=DagsterInstance.get())
    assert result.success
