from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from everloop.errors import UsageError
from everloop.pipelines import Artifact, ArtifactStore, Engine, pipeline, step
from everloop.pipelines.constants import Constants
from everloop.pipelines.graph import Node, Output


@step
def fit(rides: pd.DataFrame, names: list[str], rate: float = 0.1) -> int:
    return len(rides) + len(names) + int(rate)


@pipeline
def fitting(rides: pd.DataFrame, names: list[str]) -> int:
    return fit(rides, names)


def test_small_values_are_parameters_and_the_rest_is_stored(artifacts: ArtifactStore) -> None:
    frame = pd.DataFrame({"cnt": [1, 2]})
    node = Node("fit", fit, {"rides": frame, "names": ["a"], "rate": Output("tune")})
    parameters, stored = Constants(artifacts).of_node(node)
    assert parameters == {"names": b'["a"]'}
    assert stored == {"rides": artifacts.put(frame)}


def test_a_long_list_is_stored(artifacts: ArtifactStore) -> None:
    parameters, stored = Constants(artifacts).of_node(Node("fit", fit, {"names": ["name"] * 5000}))
    assert parameters == {}
    assert stored["names"].format == "json"


def test_a_value_that_several_steps_take_is_encoded_once(artifacts: ArtifactStore) -> None:
    constants, frame = Constants(artifacts), pd.DataFrame({"cnt": [1, 2]})
    _, first = constants.of_node(Node("fit", fit, {"rides": frame}))
    _, second = constants.of_node(Node("fit-2", fit, {"rides": frame}))
    assert first["rides"] is second["rides"]


def test_a_run_keeps_its_arguments_readable(artifacts: ArtifactStore) -> None:
    frame = pd.DataFrame({"cnt": [1, 2]})
    kept = Constants(artifacts).of_run(fitting, {"rides": frame, "names": ["a"]})
    assert kept == {"rides": {"artifact": artifacts.put(frame).id}, "names": ["a"]}


def test_an_artifact_of_an_earlier_run_is_an_argument(engine: Engine, artifacts: ArtifactStore) -> None:
    artifact = artifacts.put(pd.DataFrame({"cnt": [1, 2]}))
    assert isinstance(artifact, Artifact)
    assert engine.run(fitting, {"rides": artifact, "names": ["a"]}).value == 3


@pytest.mark.parametrize("value", [object(), Path("/nowhere")])
def test_a_value_that_cannot_be_stored_is_named(value: Any, artifacts: ArtifactStore) -> None:
    constants = Constants(artifacts)
    with pytest.raises(UsageError, match="step 'fit', parameter 'rides': "):
        constants.of_node(Node("fit", fit, {"rides": value}))
    with pytest.raises(UsageError, match="pipeline 'fitting', argument 'rides': "):
        constants.of_run(fitting, {"rides": value})
