"""Run a bundle: the same code in the server, on a device, in evaluation and in shadow scoring."""

from everloop.inference.judged import JudgedRows, judged_rows
from everloop.inference.media import arrays_of, media_of
from everloop.inference.model import Model
from everloop.inference.runtimes import Runtime
from everloop.inference.tensors import ColumnReader, columns_from_lists, tensor_of, unknown_categories

__all__ = [
    "ColumnReader",
    "JudgedRows",
    "Model",
    "Runtime",
    "arrays_of",
    "columns_from_lists",
    "judged_rows",
    "media_of",
    "tensor_of",
    "unknown_categories",
]
