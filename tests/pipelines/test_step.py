from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from everloop.errors import UsageError
from everloop.pipelines import pipeline, step
from everloop.pipelines.step import fields_of, recording


@step
def double(value: int, by: int = 2) -> int:
    """Doubles."""
    return value * by


@step(cache=False)
def look(place: str) -> str:
    return place


class Halves(NamedTuple):
    left: int
    right: str


class Notes:
    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def record(self, step: Any, arguments: dict[str, Any], each: tuple[str, ...], condition: Any) -> Any:
        assert not each
        assert condition is None
        self.calls.append((step.name, arguments))
        return len(self.calls)


def test_a_step_is_a_function_outside_of_a_pipeline() -> None:
    assert double(2) == 4
    assert double(2, by=5) == 10
    assert double.__doc__ == "Doubles."
    assert double.qualified_name == f"{__name__}:double"
    assert double.cache
    assert not look.cache


def test_a_recorder_gets_all_arguments_by_name() -> None:
    notes = Notes()
    with recording(notes):
        assert double(3) == 1
        assert double(value=3, by=1) == 2
    assert notes.calls == [("double", {"value": 3, "by": 2}), ("double", {"value": 3, "by": 1})]
    assert double(3) == 6


def test_a_wrong_call_is_refused_while_recording() -> None:
    with (
        recording(Notes()),
        pytest.raises(UsageError, match="'double' cannot be called so: missing a required argument"),
    ):
        double(by=1)  # type: ignore[call-arg]


def test_outputs_follow_from_the_annotation() -> None:
    @step
    def split(value: int) -> Halves:
        return Halves(value, "")

    assert double.outputs == {"return": int}
    assert split.outputs == {"left": int, "right": str}
    assert fields_of(tuple[int, str]) == {}


def test_a_value_of_the_surrounding_function_is_refused() -> None:
    rate = 0.1
    with pytest.raises(UsageError, match="step 'fit' uses 'rate' of the function around it: pass it as a parameter"):

        @step
        def fit(value: float) -> float:
            return value * rate


def test_a_parameter_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="step 'fit': parameter 'values' must be a plain named parameter"):

        @step
        def fit(*values: float) -> float:
            return sum(values)


def test_an_annotation_that_is_not_imported_is_named() -> None:
    @step
    def fit(value: Nowhere) -> int:  # type: ignore[name-defined]  # noqa: F821
        return int(value)

    with pytest.raises(UsageError, match="'fit': the annotation 'Nowhere' is not known in its module"):
        _ = fit.hints


def test_a_pipeline_is_a_function_outside_of_an_engine() -> None:
    @pipeline
    def both(value: int, by: int = 3) -> int:
        return double(double(value), by)

    assert both(1) == 6
    assert both.bind({"value": 1}) == {"value": 1, "by": 3}
    with pytest.raises(UsageError, match="'both' cannot be called so"):
        both.bind({"volume": 1})
