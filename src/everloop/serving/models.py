"""The models of a plan: verified and loaded off the event loop, kept while a plan names them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.bundles import Manifest, trusted
from everloop.errors import BundleError, RequestError
from everloop.inference import ColumnReader, Model, media_of, unknown_categories
from everloop.serving.batching import ALONE, Batcher, Batching
from everloop.serving.limits import too_late
from everloop.serving.protocol import DATATYPES, OutputTensor, RequestedOutput, Tensor
from everloop.serving.tensors import TensorReader
from everloop.types import Plan

__all__ = ["Answer", "LoadedModel", "ModelLoader"]

_LARGE = 256
"""Rows from which a request is computed in a thread: below, the hand-over costs more than the event loop's wait."""


class Answer:
    """What a model answered, as the journal keeps it: inputs and outputs by column, one value a row.

    `batch` is how many rows were computed together, 0 for its own alone; `flags` is what the guards found; `raw` are
    the outputs before a level corrected them.
    """

    __slots__ = ("batch", "flags", "inputs", "outputs", "raw", "shapes", "unknown")

    def __init__(
        self,
        inputs: dict[str, list[Any]],
        arrays: Mapping[str, NDArray[Any]],
        unknown: dict[str, list[Any]],
        flags: dict[str, Any],
        batch: int = 0,
    ) -> None:
        self.inputs, self.unknown, self.flags, self.batch = inputs, unknown, flags, batch
        self.outputs: dict[str, list[Any]] = {name: array.tolist() for name, array in arrays.items()}
        self.raw: dict[str, list[Any]] = {}
        self.shapes = {name: array.shape for name, array in arrays.items()}


Level = NDArray[np.float64]


class LoadedModel:
    """One version, ready to answer the protocol's tensors."""

    def __init__(self, version: str, model: Model, batching: Batching = ALONE) -> None:
        self.version, self._model = version, model
        self._batcher = Batcher(model.predict_scored, batching) if batching.rows > 1 and not model.native else None
        self._reader, self._columns = TensorReader(model.manifest.inputs), ColumnReader(model.manifest.inputs)
        self._datatypes = {c.name: DATATYPES[c.dtype] for c in model.manifest.outputs}
        self._media = bool(media_of(model.manifest.inputs))
        self._categorical = any(c.categories is not None for c in model.manifest.inputs)

    @property
    def manifest(self) -> Manifest:
        return self._model.manifest

    @property
    def platform(self) -> str:
        """What the protocol calls what executes it."""
        return "everloop_native" if self._model.native else "onnx_onnxv1"

    @property
    def guards(self) -> tuple[str, ...]:
        """The names of the guards of this version."""
        return self._model.guards.names

    async def answer(self, tensors: Sequence[Tensor], seconds: float, level: Level | None = None) -> Answer:
        """Return the model's answer to the tensors of a request; raises `RequestError` naming what is wrong.

        Many rows, images and videos are computed in a thread, and waited for `seconds` long (`RequestError` of status
        504). Guards that reject raise `RefusedError`.
        """
        inputs = self._reader.read(tensors)
        if self._media:
            arrays = await _in_a_thread(self._columns.feeds, inputs, seconds)
        else:
            arrays = self._columns.feeds(inputs)
        unknown = unknown_categories(self.manifest.inputs, arrays) if self._categorical else {}
        guards = self._model.guards
        checked, flags = guards.check(arrays, unknown)
        rows, together = tensors[0].shape[0], 0
        if rows >= _LARGE or self._model.native or (self._media and self._batcher is None):
            found = await _in_a_thread(self._model.predict_scored, checked, seconds)
        elif self._batcher is None:
            found = self._model.predict_scored(checked)
        else:
            found, together = await self._batcher.predict(checked, rows)
        flags |= guards.take(found)
        together = together if together != rows else 0
        if level is None:
            return Answer(inputs, found, unknown, flags, together)
        answer = Answer(inputs, self._model.correct(found, level), unknown, flags, together)
        answer.raw = {name: array.tolist() for name, array in found.items()}
        return answer

    def level_of(self, given: Sequence[float]) -> Level | None:
        """Return a plan's level as this model takes it; raises `BundleError` where it does not fit."""
        if not given:
            return None
        needed = len(self.manifest.classes) or 1
        if len(given) != needed or not all(math.isfinite(v) and v > 0 for v in given):
            raise BundleError(f"the level {list(given)} of {self.version} must hold {needed} positive numbers")
        return np.asarray(given, dtype=np.float64)

    def read(self, tensors: Sequence[Tensor]) -> dict[str, list[Any]]:
        """Return the values of a request by column; raises `RequestError` naming what is wrong."""
        return self._reader.read(tensors)

    def check_outputs(self, wanted: Sequence[RequestedOutput]) -> None:
        """Raise `RequestError` for an output that the model does not have."""
        for output in wanted:
            if output.name not in self._datatypes:
                raise RequestError(f"unknown output {output.name!r}: this model answers {', '.join(self._datatypes)}")

    def tensors(self, answer: Answer, wanted: Sequence[RequestedOutput]) -> list[OutputTensor]:
        """Return the answer in the protocol's tensors: all outputs, or the wanted ones in their order."""
        names = [output.name for output in wanted] or answer.outputs
        return [self._tensor(name, answer.outputs[name], answer.shapes[name]) for name in names]

    def _tensor(self, name: str, values: list[Any], shape: tuple[int, ...]) -> OutputTensor:
        for _ in shape[1:]:
            values = list(chain.from_iterable(values))
        return OutputTensor(name, self._datatypes[name], shape, values)


async def _in_a_thread(
    work: Callable[[Any], dict[str, NDArray[Any]]], given: Any, seconds: float
) -> dict[str, NDArray[Any]]:
    try:
        return await asyncio.wait_for(asyncio.to_thread(work, given), seconds)
    except TimeoutError:
        raise too_late(seconds) from None


class ModelLoader:
    """Loads the bundles of plans; a version that is loaded already is not loaded again."""

    def __init__(
        self,
        root: Path,
        keys: Path,
        threads: int = 1,
        batching: Batching = ALONE,
        native: Sequence[str] | None = None,
    ) -> None:
        self._root, self._keys, self._threads, self._batching, self._native = root, keys, threads, batching, native

    async def load(self, plan: Plan, loaded: Mapping[str, LoadedModel]) -> dict[str, LoadedModel]:
        """Return the models of a plan by version; raises `BundleError` and keeps nothing when one cannot be loaded.

        `loaded` holds the models at hand: a version names one bundle for ever.
        """
        models: dict[str, LoadedModel] = {}
        for variant in plan.variants:
            model = loaded.get(variant.version)
            if model is None:
                model = await asyncio.to_thread(self._load, variant.version, variant.bundle)
            models[variant.version] = model
            if model.manifest.name != plan.model:
                raise BundleError(f"the bundle of {model.version} holds {model.manifest.name!r}, not {plan.model!r}")
        return models

    def places(self, plan: Plan) -> dict[str, str]:
        """Return the folder of each version's bundle."""
        return {v.version: str((self._root / v.bundle.removeprefix("file://")).resolve()) for v in plan.variants}

    def _load(self, version: str, bundle: str) -> LoadedModel:
        folder = self._root / bundle.removeprefix("file://")
        model = Model.load(folder, trusted(self._keys), self._threads, guarded=True, native=self._native)
        model.warm_up()
        return LoadedModel(version, model, self._batching)
