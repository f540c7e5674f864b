from __future__ import annotations

from everloop.evaluation.intervals import Figure
from everloop.loop.document import Part, Picture, markdown, page, shown

PARTS = [
    Part("Rows <b>", ["told & done", Picture("<svg id=x></svg>"), [{"name": "a|b", "count": 1234, "rate": 0.51234}]]),
    Part("Empty", [[]]),
]


def test_a_document_as_markdown() -> None:
    assert markdown("title", ["intro"], PARTS).splitlines() == [
        "# title", "", "intro", "",
        "## Rows &lt;b>", "", "told &amp; done", "",
        "| name | count | rate |", "|---|---:|---:|", "| a&#124;b | 1,234 | 0.5123 |", "",
        "## Empty", "", "none",
    ]  # fmt: skip


def test_a_document_as_a_page() -> None:
    told = page("title", ["intro"], PARTS)
    assert "<h2>Rows &lt;b&gt;</h2>" in told
    assert "<svg id=x></svg>" in told
    assert "<td>a|b<td class=n>1,234<td class=n>0.5123</tr>" in told
    assert "<p>none</p>" in told


def test_how_values_are_shown() -> None:
    assert [shown(one) for one in (Figure(1.0, 0.5, 2.0), Figure(1.0), True, False, None, 12345, 0.123456, "x")] == [
        "1 (0.5 to 2)", "1", "yes", "", "-", "12,345", "0.1235", "x",
    ]  # fmt: skip
