"""A verified bundle that answers: columns in, columns out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.bundles import Bundle, Manifest, PublicKey, load
from everloop.errors import BundleError, RequestError
from everloop.inference.guards import Guards
from everloop.inference.media import check_able
from everloop.inference.runtimes import Runtime
from everloop.inference.runtimes.native import FILE as NATIVE
from everloop.inference.runtimes.native import NativeRuntime
from everloop.inference.runtimes.onnx import OnnxRuntime
from everloop.inference.tensors import DTYPES, columns_from_lists
from everloop.statistics.levels import apply_level

__all__ = ["Model"]


class Model:
    """A bundle and the runtime of its graph."""

    def __init__(self, bundle: Bundle, runtime: Runtime, guards: Guards, *, guarded: bool = False) -> None:
        self.bundle, self._runtime, self.guards = bundle, runtime, guards
        self._inputs = [c.name for c in self.manifest.inputs]
        self._outputs = [c.name for c in self.manifest.outputs]
        self._scored = [*self._outputs, *(guards.outputs if guarded else ())]

    @classmethod
    def load(
        cls,
        folder: Path,
        keys: Sequence[PublicKey],
        threads: int = 1,
        *,
        guarded: bool = False,
        native: Sequence[str] | None = None,
    ) -> Model:
        """Verify a bundle and load its graph; raises `BundleError` when a byte or a signature is wrong.

        A graph whose inputs or outputs are not those of the manifest is refused here, not at every request. `guarded`
        loads the graph that gives the scores of guards too, for `predict_scored`. `native` are the types that a model
        that is no graph may hold; without it such a model is refused.
        """
        bundle = load(folder, keys)
        check_able(bundle.manifest.inputs)
        guards = Guards.load(bundle)
        runtime: OnnxRuntime | NativeRuntime
        if NATIVE in bundle.files:
            runtime = _native(bundle, native)
        else:
            runtime = OnnxRuntime(bundle.read(guards.graph if guarded else "model.onnx"), threads)
        different = {c.name for c in bundle.manifest.inputs}.symmetric_difference(runtime.inputs)
        different |= {c.name for c in bundle.manifest.outputs}.difference(runtime.outputs)
        different |= set(guards.outputs).difference(runtime.outputs) if guarded else set()
        if different:
            raise BundleError(f"the graph and the manifest of {folder} differ in {min(different)!r}: build it again")
        return cls(bundle, runtime, guards, guarded=guarded)

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def native(self) -> bool:
        """Whether another process answers, which has to be waited for."""
        return NATIVE in self.bundle.files

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return one array an output column; scalar columns, of inputs too, have shape (rows,)."""
        feeds = {name: inputs[name][:, None] if inputs[name].ndim == 1 else inputs[name] for name in self._inputs}
        found = self._runtime.predict(feeds)
        return {name: _flat(found[name]) for name in self._outputs}

    def predict_scored(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return what `predict` does and, of a model loaded `guarded`, the scores that `guards.take` takes out.

        `feeds` are the columns of the model and no others, those of scalars of shape (rows, 1).
        """
        found = self._runtime.predict(feeds)
        return {name: _flat(found[name]) for name in self._scored}

    def correct(self, found: dict[str, NDArray[Any]], level: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return outputs corrected by a level: the prediction, or the probabilities and the label that they give."""
        if not self.manifest.classes:
            return found | {"prediction": apply_level(found["prediction"].astype(np.float64), level)}
        probability = apply_level(found["probability"].astype(np.float64), level)
        labels = np.asarray(self.manifest.classes, dtype=found["label"].dtype)[probability.argmax(axis=1)]
        return found | {"label": labels, "probability": probability}

    def warm_up(self) -> None:
        """Answer one row of zeros, so that the first caller does not wait for what a graph does only once.

        Raises `BundleError` for a graph that cannot.
        """
        row = {c.name: np.full((1, *(c.shape or (1,))), _ZERO[c.dtype], DTYPES[c.dtype]) for c in self.manifest.inputs}
        try:
            self.predict_scored(row)
        except RequestError as error:
            raise BundleError(f"the graph of run {self.manifest.run} cannot answer a row of zeros: {error}") from error

    def predict_lists(self, values: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Answer plain lists with plain lists, at exactly the batch shape given (shadow scoring, replay)."""
        found = self.predict(self.guards.clip(columns_from_lists(self.manifest.inputs, values)))
        return {name: array.tolist() for name, array in found.items()}


_ZERO: dict[str, Any] = {"float64": 0.0, "int64": 0, "bool": False, "string": "", "uint8": 0}


def _native(bundle: Bundle, allowed: Sequence[str] | None) -> NativeRuntime:
    if allowed is None:
        raise BundleError(
            f"{bundle.path} holds a native model, which runs its library's code: allow it, [serving] native"
        )
    return NativeRuntime({name: bundle.read(name) for name in bundle.files}, allowed)


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array
