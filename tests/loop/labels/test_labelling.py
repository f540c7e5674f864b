"""A pool without labels: rows are chosen with reasons, a person fills them in, they become a version and an event."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from tests.projects import history, write_project

from everloop import git, store
from everloop.errors import DataError, UsageError
from everloop.inference.media import packed
from everloop.loop.dataset import Added, add_data
from everloop.loop.labels import files, proposing
from everloop.loop.labels.importing import Imported, import_labels, server_of
from everloop.loop.labels.proposing import Proposal, propose
from everloop.loop.triggering import Triggering
from everloop.loop.workspace import opened
from everloop.triggers import TriggerState

NOW = 1.8e9


def project(folder: Path, task: str = "classification", rows: int = 60) -> Path:
    """Return the toy project under git with some labelled rows, and its pool without any label beside it."""
    write_project(folder, task)
    (folder / "data" / "history.csv").unlink()
    (folder / ".gitignore").write_text("/.everloop/\n")
    git.start(folder)
    git.commit_files(folder, ["."], "start")
    table = history(task)
    table[rows:400].drop(columns="y").to_csv(folder.parent / "pool.csv", index=False)
    if rows:
        table[:rows].to_csv(folder.parent / "first.csv", index=False)
        with opened(folder) as workspace:
            add_data(workspace, [str(folder.parent / "first.csv")])
    return folder


def chosen(folder: Path, count: int = 10, strategy: str = "auto", pool: str = "pool.csv") -> Proposal:
    with opened(folder) as workspace:
        return propose(workspace, folder.parent / pool, count, strategy)


def labels(*values: Any) -> pd.Series[Any]:
    return pd.Series(values, dtype=object)


def taken(folder: Path, rows: pd.DataFrame, name: str = "to-label.csv") -> Imported:
    files.write(rows, folder.parent / name)
    with opened(folder) as workspace:
        return import_labels(workspace, folder.parent / name, now=NOW, client=server_of(workspace.settings))


def test_rows_are_chosen_filled_in_and_become_a_version_and_an_event(labelled: Path, tmp_path: Path) -> None:
    folder = labelled
    with (folder / "everloop.toml").open("a") as file:
        file.write("\n[triggers.repository_data]\nbranch = 'main'\n")
    git.run(folder, "branch", "-m", "main")
    found = chosen(folder)
    assert (found.strategy, found.candidates, len(found.rows)) == ("mixed", 340, 10)
    assert list(found.rows) == ["time", "a", "b", "hour", "y", "label_reason", "label_suggested", "label_confidence"]
    assert found.rows["label_reason"].str.startswith("the two likeliest classes have 0.").all()
    assert found.rows["label_confidence"].min() < 0.6
    assert set(found.rows["label_suggested"]) <= {"yes", "no"}
    pool = pd.read_csv(tmp_path / "pool.csv", dtype=str)
    assert found.rows["a"].isin(pool["a"]).all()  # every digit as it was written

    done = taken(folder, found.rows.assign(y=labels(*["yes", "no"] * 4, None, " ")))
    assert (done.labels, done.open, done.known) == (8, 2, 0)
    assert isinstance(done.added, Added)
    assert done.told.startswith(f"8 labels in {done.added.files[0]}: version {done.added.commit[:10]}, 2 rows lack one")
    there = pd.read_csv(folder / "data" / done.added.files[0])
    assert (list(there), len(there)) == (["time", "a", "b", "hour", "y"], 8)
    with opened(folder) as workspace:
        [event] = workspace.store.rows(sa.select(store.event))
        assert (event["id"], event["type"], event["data"]["commit"]) == (done.event, "everloop.push", done.added.commit)
        answer = Triggering(workspace).answer(TriggerState(NOW, {}), 0, None)
        assert answer is not None
        assert answer.acts is not None
        assert (answer.acts.triggers, answer.occurred["repository_data"].events) == (
            ("repository_data",),
            (done.event,),
        )

    again = taken(folder, found.rows.assign(y=labels(*["yes", "no"] * 4, None, None)))
    assert (again.labels, again.added, again.event) == (0, None, None)
    assert again.told == "no new label, 8 were there already, 2 rows lack one"
    more = taken(folder, found.rows.assign(y=labels(*["yes", "no"] * 4, "yes", None)))  # the same file, labelled on
    assert (more.labels, more.known, more.open) == (1, 8, 1)
    assert more.told.endswith(", 8 were there already, 1 rows lack one")
    with pytest.raises(
        DataError, match=rf"row 1 is 'no', and 'yes' in {done.added.files[0]}: correct it in a copy of that"
    ):
        taken(folder, found.rows.assign(y=labels("no", *[None] * 8, "yes")))
    left = chosen(folder, 400)  # what is labelled is not asked for again
    assert len(left.rows) == 331
    assert not left.rows["a"].isin(found.rows["a"][:8]).any()


def test_rows_are_known_by_the_columns_that_the_projects_files_have(labelled: Path) -> None:
    pool = pd.read_csv(labelled.parent / "pool.csv")
    pool.assign(id=range(len(pool))).to_csv(labelled.parent / "ids.csv", index=False)
    found = chosen(labelled, 4, pool="ids.csv")
    assert taken(labelled, found.rows.assign(y=labels("yes", "no", None, None))).labels == 2
    again = taken(labelled, found.rows.assign(y=labels("yes", "no", "yes", None)))
    assert (again.labels, again.known) == (1, 2)
    assert chosen(labelled, pool="ids.csv").open == len(pool) - 3


def test_two_labels_of_one_row_and_what_no_text_file_holds_are_refused(labelled: Path) -> None:
    rows = chosen(labelled, 2).rows
    twice = pd.concat([rows, rows[:1]], ignore_index=True)
    with pytest.raises(DataError, match=r"^to-label.csv: row 3 is 'no', and 'yes' in row 1: correct one of them"):
        taken(labelled, twice.assign(y=labels("yes", None, "no")))
    files.read(labelled.parent / "to-label.csv").assign(a=labels(*[[1.0]] * 3), y="yes").to_parquet(
        labelled.parent / "l.parquet"
    )
    with (
        opened(labelled) as workspace,
        pytest.raises(DataError, match=r"^l.parquet: column 'a' is no text in rows 1, 2"),
    ):
        import_labels(workspace, labelled.parent / "l.parquet", now=NOW, client=server_of(workspace.settings))


def test_what_is_no_label_is_refused_and_nothing_is_taken(labelled: Path) -> None:
    folder = labelled
    before = git.run(folder, "rev-parse", "HEAD")
    found = chosen(folder, 4)
    refused: list[tuple[list[Any], str]] = [
        ([None] * 4, "to-label.csv: no row has a value in column 'y' yet: label some first"),
        (
            ["yes", None, "maybe", "perhaps"],
            r"column 'y' holds 'maybe' in row 3 \(and 1 more\): it must be one of no, yes",
        ),
    ]
    for given, told in refused:
        with pytest.raises((DataError, UsageError), match=told):
            taken(folder, found.rows.assign(y=labels(*given)))
    with pytest.raises(DataError, match=r"column 'b' is missing, which first\.csv has"):
        taken(folder, found.rows.assign(y="yes").drop(columns="b"))
    with pytest.raises(DataError, match="column 'a' is not a number in row 1: 'much'; nothing was added"):
        taken(folder, found.rows[:1].assign(y="yes", a="much"))
    text = (folder / "everloop.toml").read_text()
    (folder / "everloop.toml").write_text(text.replace("data/*.csv", "data/first.csv"))
    with pytest.raises(UsageError, match=r"takes no further file: make it a pattern, such as 'data/\*.csv'"):
        taken(folder, found.rows.assign(y="yes"))
    assert git.run(folder, "rev-parse", "HEAD") == before
    with opened(folder) as workspace:
        assert workspace.store.rows(sa.select(store.event)) == []


@pytest.mark.slow
def test_numbers_are_chosen_by_a_committee(tmp_path: Path) -> None:
    found = chosen(project(tmp_path / "project", "regression"))
    assert found.strategy == "committee"
    assert found.rows["label_reason"].str.match(r"5 models say -?[\d.]+ to [\d.]+").all()
    assert found.rows["label_suggested"].between(50, 250).all()
    assert found.rows["label_confidence"].isna().all()
    with pytest.raises(UsageError, match="needs probabilities, and a number has none"):
        chosen(tmp_path / "project", strategy="uncertainty")


@pytest.mark.slow
def test_without_any_label_diversity_begins_and_the_schema_is_frozen_by_what_comes_back(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", rows=0)
    found = chosen(folder)
    assert (found.strategy, len(found.rows)) == ("diversity", 10)
    assert found.rows["label_suggested"].isna().all()
    done = taken(folder, found.rows.assign(y=["yes", "no"] * 5))
    assert done.added is not None
    assert '+classes = ["no", "yes"]' in done.added.schema_diff
    assert chosen(folder).strategy == "mixed"


def test_a_pool_may_hold_labels_and_doubles_and_must_fit(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = labelled
    pool = pd.read_csv(tmp_path / "pool.csv")
    mixed = pd.concat([pool[:5].assign(y="no"), pool[5:10], pool[5:10]])
    mixed.to_csv(tmp_path / "mixed.csv", index=False)
    found = chosen(folder, 50, pool="mixed.csv")
    assert (found.candidates, len(found.rows)) == (5, 5)
    monkeypatch.setattr(proposing, "MOST", 3)
    found = chosen(folder, 50, pool="mixed.csv")
    assert (found.candidates, found.open, len(found.rows)) == (3, 5, 3)
    mixed[:5].to_csv(tmp_path / "done.csv", index=False)
    with pytest.raises(UsageError, match=r"done\.csv: every row of it has a label already"):
        chosen(folder, pool="done.csv")
    pool.drop(columns="hour").to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(DataError, match=r"short\.csv: column 'hour' is missing"):
        chosen(folder, pool="short.csv")
    with pytest.raises(UsageError, match=r"nothing\.csv is no file"):
        chosen(folder, pool="nothing.csv")


@pytest.mark.slow
def test_images_come_along_with_their_labels(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", rows=0)
    text = (
        (folder / "everloop.toml")
        .read_text()
        .replace('time = "time"', "")
        .replace("toy.model:classification", "one:model")
    )
    declared = '\n[data.columns.image]\nkind = "image"\nsize = [6, 6]\nmode = "L"\n'
    (folder / "everloop.toml").write_text(text + declared)
    (folder / "one.py").write_text("from sklearn.linear_model import LogisticRegression as model\n")
    rng = np.random.default_rng(0)
    place = tmp_path / "pool"
    (place / "images").mkdir(parents=True)
    names = [f"images/{n}.npy" for n in range(24)]
    for n, name in enumerate(names):
        pixels = rng.integers(0, 60, (6, 6)) + 190 * (np.arange(6) < 3) * (n % 2)
        (place / name).write_bytes(base64.b64decode(packed(pixels.astype(np.uint8))))
    pd.DataFrame({"image": names}).to_csv(place / "pool.csv", index=False)
    with opened(folder) as workspace:
        found = propose(workspace, place / "pool.csv", 12)
        truth = ["yes" if int(Path(name).stem) % 2 else "no" for name in found.rows["image"]]
        assert 3 < truth.count("yes") < 9  # both kinds are met
        files.write(found.rows.assign(y=truth), place / "to-label.csv")
        done = import_labels(workspace, place / "to-label.csv", now=NOW, client=server_of(workspace.settings))
        assert done.added is not None
        assert sorted(p.name for p in (folder / "data" / "images").iterdir()) == sorted(
            Path(name).name for name in found.rows["image"]
        )
        second = propose(workspace, place / "pool.csv", 4)
        assert (second.strategy, second.candidates) == ("mixed", 12)
        odd = [int(Path(name).stem) % 2 == 1 for name in second.rows["image"]]
        assert ((second.rows["label_suggested"] == "yes") == odd).mean() >= 0.75
