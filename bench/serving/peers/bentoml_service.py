"""BentoML's service around the graph."""

import bentoml
from graph import answer


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Rides:
    """The graph as a service."""

    @bentoml.api
    def predict(self, row: list[list[float]]) -> list[float]:
        return answer(row)
