from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import UsageError
from everloop.pipelines import pipeline, step
from everloop.pipelines.graph import Graph, Node, Output, trace


class Parts(NamedTuple):
    train: list[int]
    test: list[int]


@step
def split(rows: list[int], share: float = 0.5) -> Parts:
    cut = int(len(rows) * share)
    return Parts(rows[:cut], rows[cut:])


@step
def total(rows: list[int]) -> int:
    return sum(rows)


@step
def compare(left: int, right: int = 0) -> bool:
    return left > right


@pipeline
def judge(rows: list[int]) -> bool:
    parts = split(rows)
    return compare(total(parts.train), total(parts.test))


def test_tracing_takes_down_which_step_feeds_which() -> None:
    graph = trace(judge, {"rows": [1, 2]})
    assert [(node.name, dict(node.inputs)) for node in graph.nodes] == [
        ("split", {"rows": [1, 2], "share": 0.5}),
        ("total", {"rows": Output("split", "train")}),
        ("total-2", {"rows": Output("split", "test")}),
        ("compare", {"left": Output("total"), "right": Output("total-2")}),
    ]
    assert graph.outputs == {"return": Output("compare")}
    assert [node.name for node in graph.order()] == ["split", "total", "total-2", "compare"]


def test_a_named_tuple_gives_a_pipeline_several_outputs() -> None:
    @pipeline
    def cut(rows: list[int]) -> Parts:
        train, test = split(rows)
        return Parts(test, train)

    assert trace(cut, {"rows": []}).outputs == {"train": Output("split", "test"), "test": Output("split", "train")}


def test_a_pipeline_inside_a_pipeline_adds_its_steps() -> None:
    @pipeline
    def outer(rows: list[int]) -> bool:
        return compare(judge(rows))

    assert [node.name for node in trace(outer, {"rows": []}).nodes][-1] == "compare-2"


@pytest.mark.parametrize("look", [bool, list, len, int, float, lambda output: output.shape, lambda output: output[0]])
def test_looking_at_a_result_while_tracing_is_refused(look: Any) -> None:
    @pipeline
    def peek(rows: list[int]) -> Any:
        return look(total(rows))

    with pytest.raises(UsageError, match="the result of step 'total' is not known while the pipeline is traced"):
        trace(peek, {"rows": []})


def test_results_inside_of_a_list_are_refused() -> None:
    @pipeline
    def nested(rows: list[int]) -> int:
        return total([total(rows), total(rows)])

    with pytest.raises(UsageError, match="step 'total-3', parameter 'rows': results of steps stand inside of a list"):
        trace(nested, {"rows": []})


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Node("a", compare, {"right": 1})], "step 'a': its parameter 'left' has no value"),
        (
            [Node("a", compare, {"left": 1, "rigth": 1})],
            r"step 'a' has no parameter 'rigth' \(did you mean 'right'\?\)",
        ),
        ([Node("a", compare, {"left": Output("b")})], "step 'a', parameter 'left': there is no step 'b'"),
        (
            [Node("a", split, {"rows": []}), Node("b", total, {"rows": Output("a", "return")})],
            "step 'b', parameter 'rows': step 'a' has no output 'return'",
        ),
        ([Node("a", compare, {"left": 1}), Node("a", compare, {"left": 1})], "two of its nodes have the same name"),
        ([Node("a", compare, {"left": Output("a")})], "its steps wait for each other: 'a' -> 'a'"),
        (
            [
                Node("c", compare, {"left": Output("b")}),
                Node("a", compare, {"left": Output("b")}),
                Node("b", compare, {"left": Output("a")}),
            ],
            "its steps wait for each other: '(a' -> 'b' -> 'a|b' -> 'a' -> 'b)'",
        ),
    ],
)
def test_a_wrong_graph_is_refused(nodes: list[Node], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Graph("built", tuple(nodes)).order()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12), st.randoms())
def test_every_node_comes_after_what_it_needs(pairs: list[tuple[int, int]], random: Any) -> None:
    nodes = []
    for number, (left, right) in enumerate(pairs):
        inputs = {"left": left, "right": right}
        for side, chosen in (("left", left), ("right", right)):
            if chosen < number:
                inputs[side] = Output(f"n{chosen}")  # type: ignore[assignment]
        nodes.append(Node(f"n{number}", compare, inputs))
    random.shuffle(nodes)
    order = [node.name for node in Graph("built", tuple(nodes)).order()]
    assert sorted(order) == sorted(node.name for node in nodes)
    for node in nodes:
        assert all(order.index(source.node) < order.index(node.name) for source in node.sources.values())
