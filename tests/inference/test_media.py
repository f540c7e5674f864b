from __future__ import annotations

import base64
import io
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from everloop.errors import BundleError, RequestError
from everloop.inference.media import Mode, arrays_of, check_able, media_column, packed, text_of
from everloop.types import Column, Prepare

GREY = media_column("photo", "image", (4, 6), "L", 0)
CLIP = media_column("clip", "video", (16, 16), "L", 3)
PICTURE = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def written(image: Image.Image, form: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, form, **options)
    return text_of(file.getvalue())


def filmed(frames: list[NDArray[np.uint8]], form: str = "mp4", codec: str = "mpeg4") -> str:
    """Return a video of grey frames, whose brightness a decoder gives back nearly as it was."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.repeat(pixels[:, :, None], 3, axis=2), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return text_of(file.getvalue())


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "WEBP"])
def test_an_image_without_loss_is_its_pixels(form: str) -> None:
    text = written(Image.fromarray(PICTURE), form, **({"lossless": True} if form == "WEBP" else {}))
    assert np.abs(arrays_of(GREY, [text])[0, :, :, 0].astype(int) - PICTURE).max() <= 1


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
@pytest.mark.parametrize("given_as", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_usual_mode_becomes_the_columns(mode: Mode, channels: int, given_as: str) -> None:
    image = Image.new("RGB", (9, 7), (255, 255, 255)).convert(given_as)
    text = written(image, "JPEG" if given_as == "CMYK" else "PNG")
    found = arrays_of(media_column("photo", "image", (4, 6), mode, 0), [text])
    assert found.shape == (1, 4, 6, channels)
    assert found.min() >= 254


def test_a_photograph_stands_as_its_camera_was_held() -> None:
    turned = Image.fromarray(np.repeat(np.array([[0], [255]], np.uint8), 8, axis=0).repeat(16, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 3
    column = media_column("photo", "image", (16, 16), "L", 0)
    pixels = arrays_of(column, [written(turned, "JPEG", exif=exif)])[0, :, :, 0]
    assert pixels[0].mean() > 200
    assert pixels[-1].mean() < 50


@given(arrays(np.uint8, (4, 6)))
@settings(max_examples=20)
def test_what_is_packed_is_taken_as_it_is(pixels: NDArray[np.uint8]) -> None:
    for array in (pixels, pixels[:, :, None], np.asfortranarray(pixels)):
        assert (arrays_of(GREY, [packed(array)])[0, :, :, 0] == pixels).all()


def test_arrays_among_the_values_are_decoded_already() -> None:
    found = arrays_of(GREY, [PICTURE[:, :, None], packed(PICTURE)])
    assert (found[0] == found[1]).all()
    assert arrays_of(GREY, []).shape == (0, 4, 6, 1)


@pytest.mark.parametrize(
    ("form", "codec"), [("mp4", "mpeg4"), ("matroska", "mpeg4"), ("avi", "mpeg4"), ("webm", "libvpx")]
)
def test_frames_are_spread_from_the_first_to_the_last(form: str, codec: str) -> None:
    found = arrays_of(CLIP, [filmed([np.full((32, 32), 40 * place, np.uint8) for place in range(5)], form, codec)])
    assert found.shape == (1, 3, 16, 16, 1)
    assert found[0].mean(axis=(1, 2, 3)) == pytest.approx([0, 80, 160], abs=6)


def test_a_short_video_shows_frames_twice() -> None:
    means = arrays_of(CLIP, [filmed([np.full((16, 16), value, np.uint8) for value in (20, 200)])])[0].mean(
        axis=(1, 2, 3)
    )
    assert means[0] == pytest.approx(20, abs=6)
    assert means[2] == pytest.approx(200, abs=6)


def head(shape: tuple[int, ...], dtype: str = "|u1", data: bytes = b"", order: bool = False) -> str:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": order, "shape": shape})
    return text_of(file.getvalue() + data)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (GREY, None, "there is no image"),
        (GREY, "", "there is no image"),
        (GREY, 5, "there is no image"),
        (GREY, "photo.png", "'photo.png' is no base64"),
        (GREY, "a" * 90, "no base64"),
        (GREY, text_of(b"not a picture"), "the 13 bytes are no JPEG, PNG, WebP, BMP or GIF image"),
        (GREY, written(Image.fromarray(PICTURE), "TIFF"), "are no JPEG, PNG, WebP, BMP or GIF image"),
        (GREY, text_of(base64.b64decode(written(Image.fromarray(PICTURE), "PNG"))[:60]), "the image cannot be decoded"),
        (GREY, written(Image.fromarray(PICTURE.astype(np.uint16)), "PNG"), "has mode I;16: send one of 8 bits"),
        (GREY, written(Image.new("1", (10_001, 5000)), "PNG"), "more than 50,000,000 pixels: send a smaller one"),
        (GREY, text_of(b"\x93NUMPY\x09\x00"), "cannot be read: write it with numpy.save"),
        (GREY, text_of(b"\x93NUMPY\x01\x00\x06\x00{'a':"), "cannot be read: write it with numpy.save"),
        (GREY, head((10**9, 10**9)), r"of shape \[1000000000, 1000000000\]: this model takes uint8 of \[4, 6, 1\]"),
        (GREY, head((4, 6), "<f8", bytes(192)), "holds float64"),
        (GREY, head((4, 6), "|O"), "holds object"),
        (GREY, head((4, 6), data=bytes(23)), "cut short"),
        (GREY, head((4, 6), data=bytes(25)), "longer than its head says"),
        (CLIP, None, "there is no video"),
        (CLIP, text_of(b"not a video"), "the video cannot be decoded"),
        (CLIP, text_of(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), "the video cannot be decoded"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_told_with_its_place(column: Column, value: Any, words: str) -> None:
    good = packed(np.zeros(column.shape, np.uint8))
    with pytest.raises(RequestError, match=words) as caught:
        arrays_of(column, [good, value])
    assert str(caught.value).startswith(f"column {column.name!r}, row 1: ")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_video_with_too_many_frames_is_refused() -> None:
    text = filmed([np.zeros((16, 16), np.uint8)] * 3001)
    with pytest.raises(RequestError, match="more than 3000 frames: cut it"):
        arrays_of(CLIP, [text])


def test_another_version_of_the_pre_step_is_refused() -> None:
    check_able([GREY, CLIP, Column("x", "float64")])
    later = Column("photo", "uint8", "image", (4, 6, 1), prepare=Prepare("image", 2))
    with pytest.raises(BundleError, match="column 'photo' needs the pre-step image 2, this Everloop has 1"):
        check_able([later])
