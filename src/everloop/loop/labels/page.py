"""The page on which a person labels one row: what it holds, why it was chosen, and a button a class."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from everloop.inference.media import unpacked

__all__ = ["Shown", "data_url", "done", "page", "picture"]

MOST_BUTTONS = 12
STYLE = (
    "body{font:15px/1.5 sans-serif;color:#1c2430;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1.5rem 0}th,td{padding:.3rem 1.2rem .3rem 0;text-align:left}"
    "th{font-weight:600}th,td{vertical-align:top}td{white-space:pre-wrap;overflow-wrap:anywhere}"
    "img,video{max-width:100%;min-height:8rem;image-rendering:pixelated}"
    "button,input{font:inherit;padding:.5rem 1.2rem;margin:0 .5rem .5rem 0;border:1px solid #64748b}"
    "button{border-radius:.3rem;background:#fff;cursor:pointer}button:hover,button:focus{background:#0f766e;color:#fff}"
    ".suggested{border:2px solid #0f766e}.told{color:#475569}.wrong{color:#b91c1c}progress{width:100%}"
)


class Shown(msgspec.Struct, frozen=True):
    """One row as it is asked about: its place in the file, its columns, the label that it has by now."""

    place: int
    columns: Mapping[str, str]
    """By name, what stands in the cell: HTML."""
    reason: str = ""
    suggested: str = ""
    label: str = ""


def page(
    title: str, target: str, shown: Shown, classes: Sequence[str], labelled: int, total: int, wrong: str = ""
) -> str:
    """Return the page of one row; with few `classes` it has a button for each, else a field."""
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{cell}</td></tr>" for name, cell in shown.columns.items())
    now = f" (now {_text(shown.label)})" if shown.label else ""
    told = [shown.reason, f"suggested: {shown.suggested}" if shown.suggested else ""]
    parts = (
        _head(title, labelled, total),
        f"<p class=wrong>{_text(wrong)}</p>" if wrong else "",
        f"<p class=told>{_text('; '.join(part for part in told if part))}</p>",
        f"<table>{rows}</table>",
        f'<form method="post" action="/label"><input type="hidden" name="row" value="{shown.place}">'
        f"<p>{_text(target)}{now}</p>{_choices(shown, classes)}</form>",
        f'<p><a href="/?after={shown.place}" accesskey="s">leave this one</a>'
        f' · <a href="/?row={max(0, shown.place - 1)}" accesskey="b">the one before</a></p>',
        _finish(labelled),
    )
    return _whole(title, parts)


def done(title: str, labelled: int, total: int, told: str = "", wrong: str = "") -> str:
    """Return the page at the end: all rows are labelled, or their labels were taken (`told`)."""
    parts = (
        _head(title, labelled, total),
        f"<p class=wrong>{_text(wrong)}</p>" if wrong else "",
        f"<p>{_text(told)}</p>" if told else "<p>No row is left.</p>",
        "" if told else _finish(labelled),
        '<p><a href="/?row=0">from the first row</a></p>',
    )
    return _whole(title, parts)


def picture(packed: str) -> str:
    """Return the element that shows an image, a video, or a NumPy array of either, given in base64."""
    data = base64.b64decode(packed)
    if (array := unpacked(data)) is not None:
        frames = array if array.ndim == 4 else array[None]
        return "".join(f'<img src="{_url("image/png", _png(frame))}">' for frame in frames)
    kind = _kind(data)
    element = f'<img src="{_url(kind, data)}">'
    return element if kind.startswith("image") else f'<video controls loop src="{_url(kind, data)}"></video>'


def data_url(packed: str) -> str:
    """Return an image or a video, given in base64, as a URL that holds it; of an array the first frame."""
    data = base64.b64decode(packed)
    if (array := unpacked(data)) is not None:
        return _url("image/png", _png(array[0] if array.ndim == 4 else array))
    return _url(_kind(data), data)


_KINDS = (
    (b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"GIF8", "image/gif"), (b"BM", "image/bmp"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)  # fmt: skip


def _kind(data: bytes) -> str:
    known = next((kind for start, kind in _KINDS if data.startswith(start)), "")
    if known:
        return known
    return "image/webp" if data[8:12] == b"WEBP" else "video/mp4" if data[4:8] == b"ftyp" else "video/x-msvideo"


def _head(title: str, labelled: int, total: int) -> str:
    bar = f"<progress value={labelled} max={total}></progress>"
    return f"<h1>{_text(title)}</h1><p>{labelled} of {total} labelled</p>{bar}"


def _choices(shown: Shown, classes: Sequence[str]) -> str:
    if not 0 < len(classes) <= MOST_BUTTONS:
        options = "".join(f'<option value="{_text(name)}">' for name in classes)
        return (
            f'<input name="label" list="known" autofocus required autocomplete="off"><datalist id="known">{options}'
            "</datalist><button>take</button>"
        )
    return "".join(
        f'<button name="label" value="{_text(name)}" accesskey="{place}"'
        f"{' class=suggested' if name == shown.suggested else ''}>{_text(name)}</button>"
        for place, name in enumerate(classes, 1)
    )


def _finish(labelled: int) -> str:
    if not labelled:
        return ""
    return f'<form method="post" action="/import"><button>make a version of {labelled} labels</button></form>'


def _whole(title: str, parts: Sequence[str]) -> str:
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _png(frame: np.ndarray[Any, Any]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(frame[..., 0] if frame.ndim == 3 and frame.shape[-1] == 1 else frame).save(out, "PNG")
    return out.getvalue()


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _text(value: Any) -> str:
    return html.escape(str(value))
