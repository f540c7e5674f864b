"""`@step` and `@pipeline`: plain functions outside of a pipeline, nodes of a graph inside one."""

from __future__ import annotations

import contextvars
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from everloop.errors import UsageError
from everloop.pipelines.declared import Environment, Resources
from everloop.settings import seconds

__all__ = [
    "RETURN",
    "Each",
    "Pipeline",
    "Recorder",
    "Step",
    "When",
    "each",
    "fields_of",
    "pipeline",
    "recording",
    "step",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

RETURN = "return"
"""The name of the one output of a step that returns a single value."""


class Recorder(Protocol):
    """What takes down the calls of steps while a pipeline is traced."""

    def record(self, step: Step[Any, Any], arguments: dict[str, Any], each: tuple[str, ...], condition: Any) -> Any:
        """Take down one call, or one for each element of these arguments; returns what stands for its outputs."""


_recorder: contextvars.ContextVar[Recorder | None] = contextvars.ContextVar("recorder", default=None)


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Hand every call of a step to `recorder` instead of running it."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


class Each:
    """Marks an argument of `Step.map` whose elements go to one call each."""

    def __init__(self, values: Any) -> None:
        self.values = values


def each(values: Iterable[T]) -> T:
    """Let `Step.map` run once for each of `values`: a list, or the result of a step that gives one."""
    return cast(T, Each(values))


class Step(Generic[P, R]):
    """A function that a pipeline runs as one node; its arguments and its result are artifacts.

    `cache=False` marks a step that looks at the world outside: another run never takes over its result. One that fails
    is tried `retries` times more, the first time after `backoff`, then after twice as long each time. It may take
    `timeout` at most (durations such as "90s"; held where steps have processes of their own). `resources` says what it
    needs of a machine; `env` gives it a Python and packages of its own. `reads` names parameters that lead to data
    outside (paths, globs, URLs, a `Query`): the cache looks at that data too. `preload` names modules that such
    processes share with the next ones instead of importing them each time.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        cache: bool = True,
        retries: int = 0,
        backoff: str = "1s",
        timeout: str | None = None,
        resources: Resources | None = None,
        env: Environment | None = None,
        reads: tuple[str, ...] = (),
        preload: tuple[str, ...] = (),
    ) -> None:
        self.function, self.cache, self.retries, self.preload = function, cache, retries, preload
        self.resources, self.env, self.reads = resources or Resources(), env, reads
        self.name = function.__name__
        self.backoff = _seconds(self.name, "backoff", backoff)
        self.timeout = None if timeout is None else _seconds(self.name, "timeout", timeout)
        self.signature = inspect.signature(function)
        functools.update_wrapper(self, function)
        _refuse_hidden_inputs(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, self._call(args, kwargs))

    def map(self, *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """Run the step once for each element of the arguments in `each(...)`, at the same time where there is room.

        The results come in the order of the elements; several `each` go in step, so they are equally long.
        """
        return cast(list[R], self._map(args, kwargs))

    def when(self, condition: bool) -> When[P, R]:
        """Return the step as one that runs only where `condition`, a bool or a step's result that is one, is true.

        Else its result is None (of several outputs, each), and what takes it gets that.
        """
        return When(self, condition)

    def _call(self, args: Any, kwargs: Any, condition: Any = None) -> Any:
        arguments = _bind(self.name, self.signature, args, kwargs)
        if any(isinstance(value, Each) for value in arguments.values()):
            raise UsageError(f"step {self.name!r} is called with each(...): write {self.name}.map(...)")
        if recorder := _recorder.get():
            return recorder.record(self, arguments, (), condition)
        return self.function(*args, **kwargs) if condition in (None, True) else self.nothing()

    def _map(self, args: Any, kwargs: Any, condition: Any = None) -> Any:
        arguments = _bind(self.name, self.signature, args, kwargs)
        marked = {name: value.values for name, value in arguments.items() if isinstance(value, Each)}
        if not marked:
            raise UsageError(f"{self.name}.map(...): mark the argument that it goes over, as in each(values)")
        if recorder := _recorder.get():
            return recorder.record(self, arguments | marked, tuple(marked), condition)
        if condition not in (None, True):
            return None
        columns = {name: list(values) for name, values in marked.items()}
        if len(set(map(len, columns.values()))) > 1:
            raise UsageError(f"{self.name}.map(...): {', '.join(columns)} are not equally long")
        rows = zip(*columns.values(), strict=True)
        return [self.function(**arguments | dict(zip(columns, row, strict=True))) for row in rows]  # type: ignore[call-arg]

    def nothing(self) -> Any:
        """Return the result of a call that its condition kept from running."""
        fields = fields_of(self.hints.get("return"))
        return self.hints["return"](**dict.fromkeys(fields)) if fields else None

    @property
    def qualified_name(self) -> str:
        return f"{self.function.__module__}:{self.function.__qualname__}"

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The annotations of the parameters and of `return`, resolved."""
        return _hints(self.function)

    @property
    def outputs(self) -> dict[str, Any]:
        """The annotation of each output by name: the fields of a NamedTuple, else one named `return`."""
        returned = self.hints.get("return")
        return fields_of(returned) or {RETURN: returned}


class When(Generic[P, R]):
    """A step under a condition, to be called or mapped as the step itself."""

    def __init__(self, step: Step[P, R], condition: Any) -> None:
        self._step, self._condition = step, condition
        if isinstance(condition, bool) or not _recorder.get():
            _refuse_no_bool(step.name, condition)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        return cast(R | None, self._step._call(args, kwargs, self._condition))

    def map(self, *args: P.args, **kwargs: P.kwargs) -> list[R] | None:
        """Run the step once for each element, or not at all."""
        return cast(list[R] | None, self._step._map(args, kwargs, self._condition))


class Pipeline(Generic[P, R]):
    """A function that calls steps; run by an engine it becomes a graph, called it is just a function."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.function, self.name = function, function.__name__
        self.signature = inspect.signature(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The annotations of the parameters and of `return`, resolved."""
        return _hints(self.function)

    def bind(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return all arguments by name, defaults filled in; raises UsageError on a missing or unknown one."""
        return _bind(self.name, self.signature, (), arguments)


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    cache: bool = True,
    retries: int = 0,
    backoff: str = "1s",
    timeout: str | None = None,
    resources: Resources | None = None,
    env: Environment | None = None,
    reads: tuple[str, ...] = (),
    preload: tuple[str, ...] = (),
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(function: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a step of a function."""
    return Step(function, **options) if function else lambda f: Step(f, **options)


def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]:
    """Make a pipeline of a function."""
    return Pipeline(function)


def fields_of(annotation: Any) -> dict[str, Any]:
    """Return the annotations of a NamedTuple class by field, or nothing for any other annotation."""
    if isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        hints = typing.get_type_hints(annotation)
        return {name: hints.get(name, Any) for name in annotation._fields}
    return {}


def _refuse_no_bool(step: str, condition: Any) -> None:
    if not isinstance(condition, bool):
        raise UsageError(f"{step}.when(...): a condition is True or False, not a {type(condition).__name__}")


def _seconds(step: str, option: str, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError(f"step {step!r}, {option}: {error}") from None


def _refuse_hidden_inputs(step: Step[..., Any]) -> None:
    """What a step sees must stand in its call, or the cache could not see it change."""
    code = step.function.__code__
    if code.co_freevars:
        names = ", ".join(repr(name) for name in code.co_freevars)
        raise UsageError(f"step {step.name!r} uses {names} of the function around it: pass it as a parameter")
    for name, parameter in step.signature.parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UsageError(f"step {step.name!r}: parameter {name!r} must be a plain named parameter")
    for name in step.reads:
        if name not in step.signature.parameters:
            raise UsageError(f"step {step.name!r} reads {name!r}, which is no parameter of it")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as error:
        message = f"{function.__name__!r}: the annotation {error.name!r} is not known in its module: import it there"
        raise UsageError(message) from error


def _bind(name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(f"{name!r} cannot be called so: {error}") from None
    bound.apply_defaults()
    return dict(bound.arguments)
