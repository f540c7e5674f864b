"""A document as a page or as Markdown, from the same parts: sentences, tables, and, on the page, pictures."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from everloop.data.profile_page import STYLE
from everloop.evaluation.intervals import Figure

__all__ = ["Block", "Part", "Picture", "markdown", "page", "plain", "shown"]


class Picture(NamedTuple):
    """An SVG without script."""

    svg: str


Block: TypeAlias = "str | Picture | list[dict[str, Any]]"


class Part(NamedTuple):
    """A heading and what stands below it; rows of a table share their fields."""

    title: str
    blocks: Sequence[Block]


def page(title: str, intro: Sequence[str], parts: Iterable[Part]) -> str:
    """Return the document as HTML without outside reference, in the style of all pages."""
    told = "".join(f"<p class=quiet>{_e(text)}</p>" for text in intro)
    cards = "".join(
        f"<h2>{_e(part.title)}</h2><div class=card>{''.join(map(_html, part.blocks))}</div>" for part in parts
    )
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{_e(title)}</title>"
    view = '<meta name=viewport content="width=device-width, initial-scale=1">'
    return f"{head}{view}<style>{STYLE}</style><main><h1>{_e(title)}</h1>{told}{cards}</main></html>\n"


def markdown(title: str, intro: Sequence[str], parts: Iterable[Part]) -> str:
    """Return the document as Markdown."""
    lines = [f"# {plain(title)}", "", *(line for text in intro for line in (plain(text), ""))]
    for part in parts:
        lines += [f"## {plain(part.title)}", ""]
        for block in part.blocks:
            lines += _lines(block)
    return "\n".join(lines)


def shown(value: Any) -> str:
    """Return a value of a table as text."""
    if isinstance(value, Figure):
        between = f" ({value.low:.4g} to {value.high:.4g})" if value.low is not None else ""
        return f"{value.value:.4g}{between}"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def plain(value: object) -> str:
    """Return text that is one cell of a table and no markup of its own, whoever wrote it."""
    text = " ".join(str(value).split())
    for mark, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "&#96;"), ("[", "&#91;"), ("@", "&#64;")):
        text = text.replace(mark, safe)
    return text


def _html(block: Block) -> str:
    if isinstance(block, Picture):
        return block.svg
    return f"<p>{_e(block)}</p>" if isinstance(block, str) else _table(block)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p>none</p>"
    kinds = {name: " class=n" if _is_number(value) else "" for name, value in rows[0].items()}
    head = "".join(f"<th{kind}>{_e(name)}" for name, kind in kinds.items())
    body = "".join(
        f"<tr>{''.join(f'<td{kinds[name]}>{_e(shown(value))}' for name, value in row.items())}</tr>" for row in rows
    )
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, str):
        yield from (plain(block), "")
    elif not isinstance(block, Picture):
        if not block:
            yield from ("none", "")
            return
        yield f"| {' | '.join(plain(name) for name in block[0])} |"
        yield f"|{'|'.join('---:' if _is_number(value) else '---' for value in block[0].values())}|"
        yield from (f"| {' | '.join(plain(shown(value)) for value in row.values())} |" for row in block)
        yield ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)
