"""Run a bundle: the same code in the server, on a device, in evaluation and in shadow scoring."""

from everloop.inference.model import Model
from everloop.inference.runtimes import Runtime
from everloop.inference.tensors import columns_from_lists, unknown_categories

__all__ = ["Model", "Runtime", "columns_from_lists", "unknown_categories"]
