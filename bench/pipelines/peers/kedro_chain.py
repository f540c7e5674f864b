"""A chain of STEPS nodes in Kedro, each result a file: no lineage is stored."""

import os

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from kedro_datasets.pickle import PickleDataset

STEPS = int(os.environ["STEPS"])


def start() -> int:
    return 1


def add(number: int) -> int:
    return number + 1


if __name__ == "__main__":
    nodes = [node(start, None, "n0", name="start")]
    nodes += [node(add, f"n{by - 1}", f"n{by}", name=f"add{by}") for by in range(1, STEPS)]
    catalog = DataCatalog({f"n{by}": PickleDataset(filepath=f"n{by}.pkl") for by in range(STEPS)})
    SequentialRunner().run(Pipeline(nodes), catalog)
