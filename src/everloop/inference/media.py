"""Images and videos: from a file's bytes to the array that a graph takes, the same wherever a model is asked.

ONNX cannot decode a JPEG or an MP4, so a column may declare a pre-step, which the manifest of a bundle records with its
version and options. A value is one text wherever it is kept (tables, requests, the journal): the base64 of a JPEG, PNG,
WebP, BMP or GIF image, of an MP4, Matroska, WebM or AVI video, or of a NumPy file with the decoded array itself.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import util
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from everloop.errors import BundleError, RequestError, UsageError
from everloop.types import Column, Prepare

__all__ = ["CHANNELS", "arrays_of", "check_able", "media_column", "media_of", "packed", "text_of", "unpacked"]

VERSION = 1
Mode = Literal["L", "RGB", "RGBA"]
CHANNELS: dict[str, int] = {"L": 1, "RGB": 3, "RGBA": 4}
PIXELS, FRAMES = 50_000_000, 3000
"""Of one image, and of one video, at most: a small file may unpack to more than a machine holds."""
_IMAGES = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"))
_CONTAINERS = "mov,matroska,avi"
_NUMPY = b"\x93NUMPY"
Array = NDArray[np.uint8]


def media_column(name: str, kind: Literal["image", "video"], size: tuple[int, int], mode: Mode, frames: int) -> Column:
    """Return a column of images of `size` (height, width), or of videos of so many frames of it."""
    options: dict[str, Any] = {"mode": mode, "size": list(size), "resample": "bilinear"}
    shape: tuple[int, ...] = (*size, CHANNELS[mode])
    if kind == "video":
        options["frames"], shape = frames, (frames, *shape)
    return Column(name, "uint8", kind, shape, prepare=Prepare(kind, VERSION, options))


def media_of(columns: Iterable[Column]) -> list[Column]:
    """Return the columns of images and videos."""
    return [column for column in columns if column.prepare is not None]


def check_able(columns: Sequence[Column]) -> None:
    """Raise `BundleError` where this Everloop, or what is installed beside it, cannot execute a column's pre-step."""
    for column in media_of(columns):
        assert column.prepare
        name, version = column.prepare.name, column.prepare.version
        if version != VERSION:
            raise BundleError(
                f"column {column.name!r} needs the pre-step {name} {version}, this Everloop has {VERSION}"
            )
        if missing := [lib for lib in _NEEDED[name] if util.find_spec(lib) is None]:
            raise BundleError(
                f"column {column.name!r} holds {name}s, which {missing[0]} decodes: pip install 'everloop[media]'"
            )


def arrays_of(column: Column, values: Collection[Any]) -> Array:
    """Return the graph's array of a column, of shape (rows, *shape), from texts; arrays among them are decoded already.

    Raises `RequestError` naming the column and the row.
    """
    found = np.empty((len(values), *column.shape), np.uint8)
    for row, value in enumerate(values):
        try:
            found[row] = value if isinstance(value, np.ndarray) else _decoded(column, value)
        except _Refused as refused:
            raise RequestError(f"column {column.name!r}, row {row}: {refused}") from refused
    return found


def text_of(data: bytes) -> str:
    """Return a file's bytes as a value."""
    return base64.b64encode(data).decode()


def packed(array: NDArray[Any]) -> str:
    """Return a decoded image or video as a value."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array, np.uint8), allow_pickle=False)
    return text_of(file.getvalue())


def unpacked(data: bytes) -> NDArray[Any] | None:
    """Return the array that a NumPy file holds; None of any other file."""
    return np.load(io.BytesIO(data), allow_pickle=False) if data.startswith(_NUMPY) else None


class _Refused(Exception):
    """What is wrong with a value, to be told with its place."""


def _decoded(column: Column, value: Any) -> Array:
    if not isinstance(value, str) or not value:
        raise _Refused(f"there is no {column.kind}: send a file's bytes in base64")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _Refused(f"{value[:20]!r} is no base64: send a file's bytes in base64") from None
    if data.startswith(_NUMPY):
        return _unpacked(column, data)
    assert column.prepare
    try:
        return _READERS[column.prepare.name](column, data)
    except ImportError as error:
        raise UsageError(f"{column.kind}s need {error.name}: pip install 'everloop[media]'") from error


def _unpacked(column: Column, data: bytes) -> Array:
    """Return the array of a NumPy file, whose head is read before anything is made of its size."""
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, SyntaxError, EOFError):
        raise _Refused("the NumPy file cannot be read: write it with numpy.save") from None
    plain = column.shape[:-1] if column.shape[-1] == 1 else column.shape
    if dtype != np.uint8 or by_column or shape not in (column.shape, plain):
        raise _Refused(
            f"the array holds {dtype} of shape {list(shape)}: this model takes uint8 of {list(column.shape)}"
        )
    if len(data) - file.tell() != int(np.prod(shape)):
        raise _Refused("the NumPy file is cut short, or longer than its head says")
    return np.frombuffer(data, np.uint8, offset=file.tell()).reshape(column.shape)


def _image(column: Column, data: bytes) -> Array:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_IMAGES) as image:
            _check_size(image.width, image.height)
            if image.mode not in _MODES:
                raise _Refused(f"the image has mode {image.mode}: send one of 8 bits a channel")
            image.load()
            return _fitted(column, ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise _Refused(f"the {len(data)} bytes are no JPEG, PNG, WebP, BMP or GIF image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _Refused(f"the image holds more than {PIXELS:,} pixels: send a smaller one") from error
    except (OSError, EOFError, SyntaxError, ValueError) as error:
        raise _Refused(f"the image cannot be decoded: {_line(error)}") from error


def _video(column: Column, data: bytes) -> Array:
    """Return frames evenly spread from the first to the last; a shorter video shows some of them twice."""
    import av

    options = {"format_whitelist": _CONTAINERS}  # others, such as playlists, name files that they would open
    frames: list[Array] = []
    try:
        with av.open(io.BytesIO(data), options=options) as container:
            if not container.streams.video:
                raise _Refused("the file holds no video")
            container.streams.video[0].codec_context.thread_count = 1  # small frames, and workers of their own
            for frame in container.decode(video=0):
                _check_size(frame.width, frame.height)
                if len(frames) == FRAMES:
                    raise _Refused(f"the video holds more than {FRAMES} frames: cut it")
                frames.append(_fitted(column, frame.to_image()))
    except av.FFmpegError as error:
        raise _Refused(f"the video cannot be decoded: {_line(error)}") from error
    if not frames:
        raise _Refused("the video holds no frame")
    chosen = np.linspace(0, len(frames) - 1, column.shape[0]).round().astype(int)
    return np.stack([frames[place] for place in chosen])


def _fitted(column: Column, image: Any) -> Array:
    """Return an image in the column's mode and size."""
    from PIL import Image

    height, width, channels = column.shape[-3:]
    mode = next(mode for mode, count in CHANNELS.items() if count == channels)
    image = image if image.mode == mode else image.convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(height, width, channels)


def _check_size(width: int, height: int) -> None:
    if width * height > PIXELS:
        raise _Refused(f"{width} x {height} are more than {PIXELS:,} pixels: send a smaller one")


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


_READERS: dict[str, Callable[[Column, bytes], Array]] = {"image": _image, "video": _video}
_NEEDED = {"image": ("PIL",), "video": ("av", "PIL")}
