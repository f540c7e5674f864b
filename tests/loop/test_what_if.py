"""A version's signed graph is attacked, and asked what would have had to be different: judged rows and predictions."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from tests.loop.test_asking import NOW, Loop
from tests.loop.test_evaluating import Outside, cheap_project

from everloop.cli.counterfactual import counterfactual
from everloop.cli.evaluate import evaluate
from everloop.cli.explain import explain
from everloop.errors import NotFoundError, UsageError
from everloop.evaluation.counterfactuals import Change, Counterfactual, Said
from everloop.evaluation.otherwise import Otherwise
from everloop.inference import columns_from_lists
from everloop.journal import Writer
from everloop.loop.evaluating import Evaluated, answered_of, evaluate_version, version_of
from everloop.loop.evaluation_page import otherwise_told, page, ways_of
from everloop.loop.what_if import AskedOtherwise, ask_otherwise, ask_why, with_attacks, with_counterfactuals
from everloop.loop.workspace import Workspace, opened
from everloop.types import Prediction, new_id


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = cheap_project(tmp_path_factory.mktemp("asked") / "project", "classification")
    place = folder / "everloop.toml"
    place.write_text(place.read_text().replace("[deployment]", '[deployment]\nsensitive = ["hour"]'))
    with opened(folder) as found:
        loop = Loop(found)
        loop.controller.step(NOW)
        loop.controller.close()
        yield found


def journalled(workspace: Workspace, prediction: Prediction) -> str:
    id, writer = new_id(NOW), Writer(workspace.journal)
    writer.append("prediction", id, NOW, msgspec.json.encode(prediction))
    writer.close()
    return id


def test_a_judged_row_is_asked_and_the_graph_answers_so(workspace: Workspace) -> None:
    found = ask_otherwise(workspace, "5")
    assert (found.version, found.kept, found.otherwise.row) == ("v1", ["hour"], "row 5")
    told = found.otherwise
    other = {"yes": "no", "no": "yes"}[told.answer.value]
    assert told.wanted == f"another label than {told.answer.value}"
    model = workspace.model(version_of(workspace, None)["bundle"])
    inputs = answered_of(workspace, version_of(workspace, None)).inputs
    for way in told.ways:
        changed = {name: values[4:5].copy() for name, values in inputs.items()}
        for change in way.changes:
            assert change.before == changed[change.column][0]
            assert change.column != "hour"
            assert change.after in inputs[change.column], "a value of a real row"
            changed[change.column][:] = change.after
        assert model.predict(changed)["label"][0] == way.answer.value == other
    table = ways_of(told)
    assert (table[0]["way"], table[0]["column"]) == (1, told.ways[0].changes[0].column)
    assert otherwise_told(told).startswith("row 5: the answer is ")
    assert ask_otherwise(workspace, "5", wanted=other).otherwise.ways == told.ways
    assert ask_otherwise(workspace, "5", keep=["a", "b"], free=["hour"]).kept == ["a", "b"]


def test_a_prediction_is_asked_as_it_was_answered(workspace: Workspace) -> None:
    values = {"a": [0.0, -2.0], "b": [0.5, 0.5], "hour": [2.0, 4.0]}
    model = workspace.model(version_of(workspace, None)["bundle"])
    answers = model.predict(columns_from_lists(model.manifest.inputs, values))["probability"]
    outputs = {"label": ["yes", "no"], "probability": answers.tolist()}
    plain = Prediction(workspace.name, "v1", values, outputs)
    id = journalled(workspace, plain)
    first, second = (ask_otherwise(workspace, id, place).otherwise for place in (0, 1))
    for told, row in ((first, answers[0]), (second, answers[1])):
        assert told.row == id
        assert told.answer.probability == pytest.approx(float(row.max()))
    level = (1.0, 1e-6)
    levelled = journalled(workspace, msgspec.structs.replace(plain, level=level))
    corrected = ask_otherwise(workspace, levelled).otherwise.answer
    assert corrected.value == "no"
    assert corrected.probability == pytest.approx(1.0, abs=1e-3)
    assert ask_otherwise(workspace, levelled, version="v1").otherwise.answer == first.answer, "that version, as it is"


def test_what_cannot_be_asked_is_told_in_a_sentence(workspace: Workspace) -> None:
    id = journalled(workspace, Prediction(workspace.name, "v1", {"a": [0.0], "b": [0.5], "hour": [2.0]}, {}))
    rows = len(answered_of(workspace, version_of(workspace, None)))
    with pytest.raises(UsageError, match=f"there is no row 0: the version was judged on rows 1 to {rows}"):
        ask_otherwise(workspace, "0")
    with pytest.raises(UsageError, match=r"--row 1: the prediction has rows 0 to 0"):
        ask_otherwise(workspace, id, 1)
    with pytest.raises(UsageError, match="--row 3 is of a prediction of several; 5 is a judged row by itself"):
        ask_otherwise(workspace, "5", 3)
    with pytest.raises(NotFoundError, match="no prediction 'nothing'"):
        ask_otherwise(workspace, "nothing")
    with pytest.raises(UsageError, match=r"--keep hours: no input of the model \(did you mean 'hour'\?\)"):
        ask_otherwise(workspace, "1", keep=["hours"])
    with pytest.raises(UsageError, match=r"--may-change y: no input of the model"):
        ask_otherwise(workspace, "1", free=["y"])


def test_the_worst_rows_of_an_evaluation_are_asked_for_the_right_answer(workspace: Workspace) -> None:
    done = with_counterfactuals(workspace, evaluate_version(workspace))
    found = done.evaluation.counterfactuals
    assert found is not None
    assert len(found) == 3
    for one in found:
        assert one.answer.value != one.truth == one.wanted
        assert all(way.answer.value == one.truth for way in one.ways)
    assert msgspec.json.decode(msgspec.json.encode(done), type=Evaluated) == done
    told = page(done)
    assert "What would have had to be different" in told
    assert found[0].row in told
    assert "Attacks" not in told, "only what was asked for"


@pytest.mark.parametrize(
    ("answer", "truth", "told"),
    [
        (Said(True, 0.75), False, "the answer is True (75%), true is False. For "),
        (Said(2024, 0.75), 2025, "the answer is 2024 (75%), true is 2025. For "),
        (Said(12.34567), 0.5, "the answer is 12.35, true is 0.5. For "),
    ],
)
def test_labels_of_any_kind_are_told_by_their_names(answer: Said, truth: object, told: str) -> None:
    one = Otherwise("row 1", answer, "another", [Counterfactual([Change("a", 1.0, None)], answer)], truth)
    assert told in otherwise_told(one)
    assert ways_of(one)[0]["answer"] in told


@pytest.mark.parametrize("asked", ["5", "prediction"])
def test_why_an_answer_is_what_it_is(workspace: Workspace, asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = workspace.model(version_of(workspace, None)["bundle"])
    inputs = {n: v[4:5] for n, v in answered_of(workspace, version_of(workspace, None)).inputs.items()}
    if asked == "prediction":
        lists = {name: [None, *values.tolist()] for name, values in inputs.items()}
        asked = journalled(workspace, Prediction(workspace.name, "v1", lists, {}))
    found = ask_why(workspace, asked, 0 if asked == "5" else 1)
    probability = model.predict(inputs)["probability"][0]
    assert found.answer == pytest.approx(probability.max())
    assert found.of_class == model.manifest.classes[probability.argmax()]
    assert found.base + sum(found.values.values()) == pytest.approx(found.answer, abs=1e-6)
    assert found.inputs == {name: values[0] for name, values in inputs.items()}
    other = next(str(one) for one in model.manifest.classes if one != found.of_class)
    explain("5", of_class=other, project=workspace.folder)
    assert f"row 5: the probability of {other} is " in capsys.readouterr().out
    with pytest.raises(UsageError, match="class 'maybe' is unknown: one of"):
        ask_why(workspace, "5", of_class="maybe")


def test_the_commands_print_what_was_found(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    counterfactual("5", project=workspace.folder)
    told = capsys.readouterr().out
    assert told.startswith("toy v1, row 5: the answer is ")
    assert "would be" in told
    assert told.endswith("kept as they are: hour\n")
    counterfactual("5", project=workspace.folder, may_change=["hour"], json=True)
    found = msgspec.json.decode(capsys.readouterr().out, type=AskedOtherwise)
    assert found == ask_otherwise(workspace, "5", free=["hour"])
    evaluate(project=workspace.folder, counterfactuals=True)
    assert ": the answer is " in capsys.readouterr().out


def test_what_cannot_be_attacked_or_asked_is_refused_before_the_evaluation(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the version was evaluated first")

    monkeypatch.setattr("everloop.loop.evaluating.evaluate_version", never)
    monkeypatch.setitem(sys.modules, "art.attacks.evasion", None)
    with pytest.raises(UsageError, match=r"pip install 'everloop\[adversarial\]'"):
        evaluate(project=workspace.folder, attacks=True)
    place = workspace.folder / "everloop.toml"
    told = place.read_text()
    place.write_text(told.replace('["hour"]', '["a", "b", "hour"]'))
    with pytest.raises(UsageError, match="no column may change"):
        evaluate(project=workspace.folder, counterfactuals=True)
    place.write_text(told)


@pytest.mark.slow
def test_a_version_is_attacked(workspace: Workspace) -> None:
    pytest.importorskip("art")
    steps: list[int] = []
    done = with_attacks(workspace, evaluate_version(workspace), lambda done, _all: steps.append(done))
    found = done.evaluation.attacks
    assert found is not None
    assert found.rows == steps[-1] == 100
    assert found.flipped > 90
    assert {one.column for one in found.columns} == {"a", "b", "hour"}
    assert found.columns[0].column == "a", "what its class depends on"
    assert sum(one.share.value for one in found.columns) == pytest.approx(1.0)
    assert found.asked <= 100 * 1500
    assert np.all(np.diff(found.distances) >= 0)
    assert msgspec.json.decode(msgspec.json.encode(done), type=Evaluated) == done
    told, outside = page(done), Outside()
    outside.feed(told)
    assert outside.found == []
    assert "Share of rows that flip" in told
