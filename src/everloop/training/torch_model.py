"""A network of PyTorch as an estimator: fitted in plain sight, exported with its preprocessing in one graph."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from sklearn.base import BaseEstimator

from everloop.errors import UsageError
from everloop.training.fronts import fit_fronts
from everloop.types import Column, Task

__all__ = ["TorchModel"]

OPSET, PART = 19, 256
Shapes = Mapping[str, tuple[int, ...]]


class TorchModel(BaseEstimator):  # type: ignore[misc]
    """Trains the module that `network(shapes, outputs)` returns, by Adam, on the CPU, the same at every time.

    `shapes` holds, by column, the shape of one row: images are (channels, height, width), videos (frames, channels,
    height, width), numbers (1,), categories one number each; at the end of a pipeline `features` alone, the numbers
    that its other steps make of a row. The module's `forward` takes a mapping of such tensors
    and returns (rows, outputs): logits of the classes, or one number. `target = "log"` learns the logarithm of a
    positive number. After `fit`, `loss_curve_` holds the mean training loss of each epoch.
    """

    def __init__(
        self,
        network: Callable[[Shapes, int], Any],
        epochs: int = 20,
        batch: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        target: Literal["plain", "log"] = "plain",
        random_state: int | None = None,
    ) -> None:
        self.network, self.epochs, self.batch, self.learning_rate = network, epochs, batch, learning_rate
        self.weight_decay, self.target, self.random_state = weight_decay, target, random_state

    def fit(self, rows: Any, target: Any) -> TorchModel:
        """Train on all rows, in an order that the seed gives."""
        torch, rows = _torch(), _dense(rows)
        self.fronts_ = fit_fronts(rows)
        answers, outputs, loss = self._answers(np.asarray(target))
        shapes = {part.name: part.shape for part in self.fronts_.parts}
        columns = {name: torch.from_numpy(array) for name, array in self.fronts_.arrays(rows).items()}
        before = torch.random.get_rng_state()
        try:
            torch.manual_seed(self.random_state or 0)
            self.module_ = self.network(shapes, outputs)
            self.loss_curve_ = self._train(columns, torch.from_numpy(answers), loss)
        finally:
            torch.random.set_rng_state(before)
        return self

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return one value, or one class, a row."""
        if hasattr(self, "classes_"):
            return np.asarray(self.classes_[self._raw(rows).argmax(axis=1)])
        values = self._raw(rows)[:, 0].astype(np.float64) * self.scale_ + self.mean_
        return np.exp(values) if self.target == "log" else values

    def predict_proba(self, rows: Any) -> NDArray[Any]:
        """Return one probability a class and row."""
        raw = self._raw(rows).astype(np.float64)
        powers = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def score(self, rows: Any, target: Any) -> float:
        """Return the share of right classes, or R2 of numbers, as scikit-learn's own estimators do."""
        from sklearn.metrics import accuracy_score, r2_score

        return float((accuracy_score if hasattr(self, "classes_") else r2_score)(target, self.predict(rows)))

    def to_onnx(self, inputs: Sequence[Column], task: Task) -> bytes:
        """Return the graph: columns in, the module, and the answer as a model of scikit-learn gives it."""
        graph, names = self.fronts_.graph(inputs)
        inner = compose.add_prefix(self._exported(), "network_")
        fed = {f"network_column{place}": names[part.name] for place, part in enumerate(self.fronts_.parts)}
        for node in inner.graph.node:
            node.input[:] = [fed.get(name, name) for name in node.input]
        graph.node.extend(inner.graph.node)
        graph.initializer.extend(inner.graph.initializer)
        if task == "regression":
            self._end_with_value(graph)
        else:
            self._end_with_class(graph)
        opsets = {"": OPSET, "ai.onnx.ml": 3}
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())],
            ir_version=9,
            producer_name="everloop",
        )
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString(deterministic=True))

    def _answers(self, target: NDArray[Any]) -> tuple[NDArray[Any], int, Any]:
        """Return what the module is to answer, how many numbers that is, and the loss."""
        nn = _torch().nn
        for name in ("classes_", "mean_", "scale_"):
            self.__dict__.pop(name, None)
        if target.dtype.kind != "f":
            self.classes_, places = np.unique(target, return_inverse=True)
            return places.astype(np.int64), len(self.classes_), nn.CrossEntropyLoss()
        if self.target == "log":
            if not (target > 0).all():
                raise UsageError("target = 'log' needs a target that is always above zero: leave it out")
            target = np.log(target)
        self.mean_, self.scale_ = float(target.mean()), float(target.std()) or 1.0
        return ((target - self.mean_) / self.scale_).astype(np.float32)[:, None], 1, nn.MSELoss()

    def _train(self, columns: Mapping[str, Any], answers: Any, loss: Any) -> list[float]:
        """Return the mean loss of each epoch; the learning rate falls to nothing along half a cosine."""
        torch, module, count = _torch(), self.module_, len(answers)
        optimizer = torch.optim.AdamW(module.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        curve: list[float] = []
        module.train()
        for epoch in range(self.epochs):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
            total, order = 0.0, torch.randperm(count)
            for start in range(0, count, self.batch):
                chosen = order[start : start + self.batch]
                if len(chosen) < 2 <= count:  # layers that normalise over a batch need two rows
                    continue
                optimizer.zero_grad()
                found = loss(module({name: values[chosen] for name, values in columns.items()}), answers[chosen])
                found.backward()
                optimizer.step()
                total += float(found.detach()) * len(chosen)
            curve.append(total / count)
        module.eval()
        return curve

    def _raw(self, rows: Any) -> NDArray[np.float32]:
        torch, rows, found = _torch(), _dense(rows), [np.zeros((0, len(getattr(self, "classes_", "1"))), np.float32)]
        with torch.no_grad():
            for start in range(0, len(rows), PART):
                arrays = self.fronts_.arrays(rows[start : start + PART])
                found.append(self.module_({name: torch.from_numpy(a) for name, a in arrays.items()}).numpy())
        return np.concatenate(found)

    def _exported(self) -> onnx.ModelProto:
        """Return the module's own graph, by the exporter that traces it: it needs no further package."""
        torch, names = _torch(), [part.name for part in self.fronts_.parts]
        module = self.module_

        class Positional(torch.nn.Module):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.inner = module

            def forward(self, *given: Any) -> Any:
                return self.inner(dict(zip(names, given, strict=True)))

        file = io.BytesIO()
        given = tuple(torch.zeros(2, *part.shape) for part in self.fronts_.parts)
        labels = [f"column{place}" for place in range(len(names))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Positional().eval(), given, file, dynamo=False, opset_version=OPSET, input_names=labels,
                output_names=["raw"], dynamic_axes={name: {0: "rows"} for name in [*labels, "raw"]},
            )  # fmt: skip
        self._check_rows(
            file.getvalue(), {label: (3, *part.shape) for label, part in zip(labels, self.fronts_.parts, strict=True)}
        )
        model = onnx.load_model_from_string(file.getvalue())
        model.doc_string = ""
        for node in model.graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        return model

    def _check_rows(self, graph: bytes, shapes: Shapes) -> None:
        """Raise `UsageError` where the graph answers as many rows as it was traced with and no others."""
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.log_severity_level = 4  # what it says is raised too
        try:
            session = InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            wanted = {value.name for value in session.get_inputs()}  # a module may leave a column out
            given = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name in wanted}
            fits = len(session.run(["raw"], given)[0]) == 3
        except Exception:  # ONNX Runtime raises its own kinds
            fits = False
        if not fits:
            raise UsageError(
                f"{type(self.module_).__name__}'s graph holds the number of rows it was exported with: "
                "write x.flatten(1) or x.shape[0] in forward, not len(x)"
            )

    def _end_with_value(self, graph: onnx.GraphProto) -> None:
        values = {"everloop_scale": self.scale_, "everloop_mean": self.mean_}
        graph.initializer.extend(
            numpy_helper.from_array(np.array(v, dtype=np.float64), name) for name, v in values.items()
        )
        graph.node.append(helper.make_node("Cast", ["network_raw"], ["everloop_raw"], to=TensorProto.DOUBLE))
        graph.node.append(helper.make_node("Mul", ["everloop_raw", "everloop_scale"], ["everloop_spread"]))
        graph.node.append(helper.make_node("Add", ["everloop_spread", "everloop_mean"], ["everloop_value"]))
        last = "everloop_value"
        if self.target == "log":
            graph.node.append(helper.make_node("Exp", [last], ["everloop_power"]))
            last = "everloop_power"
        graph.node.append(helper.make_node("Cast", [last], ["prediction"], to=TensorProto.FLOAT))
        graph.output.append(helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1]))

    def _end_with_class(self, graph: onnx.GraphProto) -> None:
        classes = self.classes_.tolist()
        text = isinstance(classes[0], str)
        kind = TensorProto.STRING if text else TensorProto.INT64
        values = [str(c).encode() for c in classes] if text else [int(c) for c in classes]
        graph.initializer.append(helper.make_tensor("everloop_classes", kind, [len(classes)], values))
        graph.node.append(helper.make_node("Softmax", ["network_raw"], ["probability"], axis=1))
        graph.node.append(helper.make_node("ArgMax", ["probability"], ["everloop_best"], axis=1, keepdims=0))
        graph.node.append(helper.make_node("Gather", ["everloop_classes", "everloop_best"], ["label"]))
        graph.output.append(helper.make_tensor_value_info("label", kind, [None]))
        graph.output.append(helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, len(classes)]))


def _dense(rows: Any) -> Any:
    """Return a table as it is, and a matrix of any kind as an array of float32."""
    if isinstance(rows, pd.DataFrame):
        return rows
    return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float32)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise UsageError("a network of PyTorch needs it: pip install 'everloop[torch]'") from None
    return torch
