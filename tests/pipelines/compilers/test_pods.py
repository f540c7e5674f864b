"""Which nodes share a pod."""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.entry_project import everything

from everloop.pipelines import Resources, pipeline, step
from everloop.pipelines.compilers.pods import pods_of
from everloop.pipelines.graph import trace


@step
def read(source: str) -> int:
    return len(source)


@step(retries=2, backoff="5s")
def small(number: int) -> int:
    return number


@step(resources=Resources(cpu=2))
def large(number: int) -> int:
    return number


@step
def join(left: int, right: int) -> int:
    return left + right


@pipeline
def diamond(source: str) -> int:
    number = read(source)
    return join(small(number), large(number))


@pipeline
def line(source: str) -> int:
    number = read(source)
    return join(small(number), number)


def shape(pods: object) -> list[tuple[str, list[str], tuple[str, ...]]]:
    return [(pod.name, [n.name for n in pod.nodes], pod.after) for pod in pods]  # type: ignore[attr-defined]


def test_small_neighbours_share_one() -> None:
    (pod,) = pods_of(trace(line, {"source": "a"}))
    assert shape([pod]) == [("read", ["read", "small", "join"], ())]
    assert (pod.retries, pod.backoff) == (2, 5.0)


def test_needs_of_its_own_and_what_takes_from_two_stand_alone() -> None:
    assert shape(pods_of(trace(diamond, {"source": "a"}))) == [
        ("read", ["read", "small"], ()),
        ("large", ["large"], ("read",)),
        ("join", ["join"], ("read", "large")),
    ]


def test_not_fused_each_node_is_one() -> None:
    pods = pods_of(trace(everything, {"count": 2, "greeting": Path("a")}), fuse=False)
    assert [pod.name for pod in pods] == ["numbers", "square", "add", "is_even", "halve", "tell"]
    fused = pods_of(trace(everything, {"count": 2, "greeting": Path("a")}))
    assert shape(fused) == [
        ("numbers", ["numbers"], ()),
        ("square", ["square"], ("numbers",)),
        ("add", ["add", "is_even"], ("square",)),
        ("halve", ["halve"], ("add",)),
        ("tell", ["tell"], ("add", "halve")),
    ]
