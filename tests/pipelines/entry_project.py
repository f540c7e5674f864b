"""A pipeline with every kind of node, for engines that call the entry point in an order of their own."""

from __future__ import annotations

from pathlib import Path

from everloop.pipelines import each, pipeline, step


@step
def numbers(count: int) -> list[int]:
    return list(range(count))


@step
def square(number: int) -> int:
    return number**2


@step
def is_even(total: int) -> bool:
    return total % 2 == 0


@step
def add(values: list[int]) -> int:
    return sum(values)


@step
def halve(total: int) -> int:
    return total // 2


@step
def tell(total: int, half: int | None, greeting: Path) -> str:
    return f"{greeting.read_text()} {total} {half}"


@pipeline
def everything(count: int, greeting: Path) -> str:
    squares = square.map(each(numbers(count)))
    total = add(squares)
    half = halve.when(is_even(total))(total)
    return tell(total, half, greeting)


@pipeline
def branches(total: int, greeting: Path) -> str:
    half = halve.when(is_even(total))(total)
    return tell(total, half, greeting)
