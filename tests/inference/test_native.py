"""A native model behind its process: the same answers, its death told and mended; refused unless it is allowed."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import psutil
import pytest
from tests.serving.sites import Site, named, open_plane, read_journal, write_bundle
from tests.training.test_native import fitted, table

from everloop.bundles import SigningKey, trusted
from everloop.errors import BundleError, RequestError, SystemError_
from everloop.inference import Model
from everloop.inference.runtimes.native import FILE, NativeRuntime
from everloop.serving.models import ModelLoader
from everloop.serving.plane import Context
from everloop.serving.protocol import InferRequest
from everloop.training.native import save
from everloop.types import Column, Plan, Prediction, Variant

INPUTS = (Column("a", "float64"), Column("b", "float64"))
NO_HEADERS: dict[str, str] = {}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return save(fitted(lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1), table("regression")), INPUTS, ())


@pytest.fixture(scope="module")
def runtime(files: dict[str, bytes]) -> NativeRuntime:
    return NativeRuntime(files, ())


def feeds(rows: int = 3) -> dict[str, Any]:
    frame = table("regression").head(rows)
    return {name: frame[name].to_numpy()[:, None] for name in ("a", "b")}


def test_it_answers_as_the_estimator(runtime: NativeRuntime) -> None:
    rows = table("regression")
    trained = fitted(lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1), rows)
    found = runtime.predict(feeds(300))["prediction"]
    assert found.shape == (300, 1)
    assert np.array_equal(found[:, 0], trained.answers(rows))


def test_classes_come_as_labels_and_probabilities() -> None:
    rows = table("classification", 3)
    trained = fitted(lambda: lightgbm.LGBMClassifier(n_estimators=5, verbose=-1), rows)
    found = NativeRuntime(save(trained, INPUTS, ()), ()).predict({n: rows[n].to_numpy()[:, None] for n in "ab"})
    assert np.allclose(found["probability"], trained.answers(rows), atol=1e-12)
    assert found["label"].tolist() == [trained.problem.classes[i] for i in trained.answers(rows).argmax(axis=1)]


def test_a_process_that_dies_is_told_and_started_again(runtime: NativeRuntime) -> None:
    runtime.predict(feeds())
    os.kill(runtime._process.pid, signal.SIGKILL)
    with pytest.raises(SystemError_, match=r"the process of the native model died \(exit -9\): try again"):
        runtime.predict(feeds())
    assert runtime.predict(feeds())["prediction"].shape == (3, 1)


def test_the_process_ends_with_its_model(files: dict[str, bytes]) -> None:
    runtime = NativeRuntime(files, ())
    process = psutil.Process(runtime._process.pid)
    del runtime
    gc.collect()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f | {FILE: b"{"}, r"native\.json of the bundle cannot be read"),
        (lambda f: f | {FILE: f[FILE].replace(b'"format": 1', b'"format": 2')}, "has format 2, this Everloop reads 1"),
        (lambda f: f | {"native/0.lightgbm": b"tree"}, "the native model cannot be loaded: "),
    ],
)
def test_files_that_are_no_model(files: dict[str, bytes], change: Callable[[Any], Any], sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        NativeRuntime(change(files), ())


def test_what_the_model_refuses(runtime: NativeRuntime) -> None:
    with pytest.raises(RequestError, match="the model refuses the input: "):
        runtime.predict({"a": np.array([["x"]], dtype=object), "b": np.array([["y"]], dtype=object)})
    assert runtime.predict(feeds())["prediction"].shape == (3, 1)


@pytest.mark.asyncio
async def test_it_is_served_where_it_is_allowed(files: dict[str, bytes], tmp_path: Path) -> None:
    site, key = Site(tmp_path), SigningKey.create(tmp_path / "keys")
    write_bundle(tmp_path / "bundles" / "v1", key, "rides", b"", INPUTS, files)
    (tmp_path / "bundles" / "v1" / "model.onnx").read_bytes()
    with pytest.raises(BundleError, match=r"holds a native model, .*: allow it, \[serving\] native"):
        Model.load(tmp_path / "bundles" / "v1", trusted(site.keys))
    plan = Plan(1, "rides", (Variant("v1", "bundles/v1", "champion", 1.0),))
    body = {"inputs": [t | {"name": n} for t, n in zip(named(0.5)["inputs"], "ab", strict=False)]}
    async with open_plane(site) as plane:
        plane._loader = ModelLoader(site.folder, site.keys, native=())
        await plane.take(plan)
        request = msgspec.convert(body | {"parameters": {"time": 100.0}}, InferRequest)
        answer = await plane.infer(request, Context("rides", NO_HEADERS.get))
        assert plane.metadata("rides").platform == "everloop_native"
    (record,) = read_journal(site.journal)
    assert record.read(Prediction).outputs["prediction"] == answer.outputs[0].data
    model = Model.load(tmp_path / "bundles" / "v1", trusted(site.keys), native=())
    assert model.predict_lists(record.read(Prediction).inputs) == record.read(Prediction).outputs
