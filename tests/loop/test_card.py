"""The card of a version tells what the evidence shows, and what a person said."""

from __future__ import annotations

import json
from pathlib import Path

from tests.loop.test_asking import NOW, Loop
from tests.loop.test_evaluating import Outside, cheap_project
from typer.testing import CliRunner

from everloop.cli import app
from everloop.loop.card import card_of, card_page, card_text
from everloop.loop.workspace import opened

SAID = """
[card]
use = "Tells how many toys are sold."
owner = "The toy desk"
limits = ["Not for toys on wheels."]
"""


def test_the_card_of_a_version(tmp_path: Path) -> None:
    folder = cheap_project(tmp_path / "project")
    with (folder / "everloop.toml").open("a") as file:
        file.write(SAID)
    with opened(folder) as workspace:
        loop = Loop(workspace)
        loop.controller.step(NOW)
        loop.controller.close()
        card = card_of(workspace)
        told, html = card_text(card), card_page(card)
        manifest = workspace.model(card.version["bundle"]).bundle.manifest
    for words in (
        "# toy v1", "regression of y",
        "champion", "Tells how many toys are sold.", "not said: set &#91;card] not_for", "The toy desk",
        "data-1", "| rmse |", "## Gate", "no champion yet", "Not for toys on wheels.", card.version["run"],
        *manifest.files.values(),
    ):  # fmt: skip
        assert words in told, words
    outside = Outside()
    outside.feed(html)
    assert outside.found == []
    assert "<svg" in html
    run = CliRunner()
    for name, start in (("card.md", "# toy v1"), ("card.html", "<!doctype html>")):
        done = run.invoke(app, ["card", "v1", "--project", str(folder), "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        assert (tmp_path / name).read_text().startswith(start)
    done = run.invoke(app, ["card", "--project", str(folder), "--json"])
    assert json.loads(done.stdout)["evaluated"]["version"] == "v1"
