"""Label Studio over its REST API: rows to label become tasks with suggestions, annotations come back into the file.

A task holds a row's columns and a key that follows from their values, so that rows are pushed once however often it is
asked for, and labels find their rows again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import msgspec
import pandas as pd

from everloop.data import Schema, label
from everloop.data.media import value_of
from everloop.errors import NotFoundError, SystemError_, UsageError
from everloop.loop.labels import files as label_files
from everloop.loop.labels.page import data_url
from everloop.loop.schemas import frozen_schema
from everloop.loop.workspace import Workspace

__all__ = ["Pulled", "Pushed", "labels_of", "pull", "push", "tasks_of", "view_of"]

KEY = "everloop_row"
FEWEST_LETTERS, AT_ONCE, TIMEOUT = 3, 50, 60.0
_TAGS = {"image": "Image", "video": "Video"}


class Pushed(msgspec.Struct, frozen=True):
    """The project in Label Studio, where it is, how many rows became tasks and how many were tasks already."""

    project: int
    url: str
    tasks: int
    known: int


class Pulled(msgspec.Struct, frozen=True):
    """How many rows of the file have a label from Label Studio, how many of its labels are none of this project's."""

    labels: int
    strange: int


def push(workspace: Workspace, path: Path, url: str, title: str, key: str) -> Pushed:
    """Make tasks of the rows of a file without a label; the project is created where there is none of that title."""
    if len(title) < FEWEST_LETTERS:
        raise UsageError(f"the title {title!r} is too short: Label Studio asks for {FEWEST_LETTERS} letters")
    rows, target, schema = label_files.as_written(path), workspace.settings.data.target, frozen_schema(workspace)
    media = {name: one.kind for name, one in workspace.settings.data.columns.items()}
    columns = _columns(rows, target)
    open_ = rows[~label_files.filled(rows, target)]
    with _studio(url, key) as studio:
        project = studio.project(title)
        if project is None:
            view = view_of(columns, media, target, schema)
            project = int(studio.send("POST", "/api/projects/", {"title": title, "label_config": view})["id"])
        known = {task["data"].get(KEY) for task in studio.tasks(project)}
        tasks = tasks_of(open_, columns, media, schema, path.parent)
        new = [task for task in tasks if task["data"][KEY] not in known]
        for start in range(0, len(new), AT_ONCE):
            studio.send("POST", f"/api/projects/{project}/import", new[start : start + AT_ONCE])
    return Pushed(project, f"{url.rstrip('/')}/projects/{project}/data", len(new), len(tasks) - len(new))


def pull(workspace: Workspace, path: Path, url: str, title: str, key: str) -> Pulled:
    """Write the labels that a project of Label Studio has into the file; of several annotations the newest counts."""
    rows, target = label_files.as_written(path), workspace.settings.data.target
    with _studio(url, key) as studio:
        project = studio.project(title)
        if project is None:
            raise NotFoundError("project in Label Studio", title, studio.titles())
        found, strange = labels_of(studio.tasks(project), frozen_schema(workspace))
    keys = _keys(rows, _columns(rows, target))
    given = rows[target].astype(object) if target in rows else pd.Series([None] * len(rows), dtype=object)
    rows[target] = [found.get(key, value) for key, value in zip(keys, given, strict=True)]
    label_files.write(rows, path)
    return Pulled(sum(key in found for key in keys), strange)


def view_of(columns: Sequence[str], media: Mapping[str, str], target: str, schema: Schema | None) -> str:
    """Return Label Studio's configuration: each column as it is, then a choice of classes, or a number."""
    names = _names(columns)
    shown = [
        f'<Header value={quoteattr(column)} size="5"/><{_TAGS.get(media.get(column, ""), "Text")} '
        f"name={quoteattr(name)} value={quoteattr('$' + name)}/>"
        for column, name in names.items()
    ]
    to = quoteattr(next(iter(names.values())))
    if schema is not None and schema.task == "regression":
        asked = f'<Number name="label" toName={to}/>'
    elif schema is not None:
        choices = "".join(f"<Choice value={quoteattr(str(one))}/>" for one in schema.classes)
        asked = f'<Choices name="label" toName={to} choice="single">{choices}</Choices>'
    else:
        asked = f'<TextArea name="label" toName={to} maxSubmissions="1"/>'
    return f"<View>{''.join(shown)}<Header value={quoteattr(target)}/>{asked}</View>"


def tasks_of(
    rows: pd.DataFrame, columns: Sequence[str], media: Mapping[str, str], schema: Schema | None, beside: Path
) -> list[dict[str, Any]]:
    """Return a task a row, with what the model suggests as a pre-annotation."""
    names, tasks = _names(columns), list[dict[str, Any]]()
    for key, (_, row) in zip(_keys(rows, columns), rows.iterrows(), strict=True):
        data = {name: _cell(row[column], column in media, beside) for column, name in names.items()}
        told = {KEY: key, label_files.REASON: _cell(row.get(label_files.REASON), False, beside)}
        task: dict[str, Any] = {"data": data | told}
        suggested = _cell(row.get(label_files.SUGGESTED), False, beside)
        if suggested and schema is not None:
            task["predictions"] = [_prediction(suggested, row, schema, next(iter(names.values())))]
        tasks.append(task)
    return tasks


def labels_of(tasks: Sequence[dict[str, Any]], schema: Schema | None) -> tuple[dict[str, Any], int]:
    """Return the label of each annotated task by its key, and how many are none of the project's."""
    found, strange = dict[str, Any](), 0
    for task in tasks:
        done = [one for one in task.get("annotations", ()) if not one.get("was_cancelled") and one.get("result")]
        if not done or KEY not in task["data"]:
            continue
        newest = max(done, key=lambda one: str(one.get("updated_at", "")))
        told = newest["result"][0]["value"]
        value = told["number"] if "number" in told else (told.get("choices") or told.get("text") or [None])[0]
        known = value if schema is None else label(value, schema)
        if known is None:
            strange += 1
        else:
            found[task["data"][KEY]] = known
    return found, strange


class _Studio:
    """One Label Studio, asked with a key of its user."""

    def __init__(self, client: Any, url: str) -> None:
        self._client, self._url = client, url

    def send(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return what it answers; raises `SystemError_` with its own words."""
        import httpx

        try:
            answer = self._client.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            raise SystemError_(f"Label Studio at {self._url} cannot be reached: {error}") from error
        if answer.status_code in (401, 403):
            raise UsageError(f"Label Studio at {self._url} does not take the key: set LABEL_STUDIO_API_KEY to another")
        if answer.is_error:
            raise SystemError_(f"Label Studio refuses {method} {path} ({answer.status_code}): {answer.text[:200]}")
        try:
            return answer.json()
        except ValueError as error:
            raise SystemError_(f"{self._url} is no Label Studio: its answer to {path} is not JSON") from error

    def project(self, title: str) -> int | None:
        """Return the project of a title."""
        return next((int(one["id"]) for one in self._projects() if one["title"] == title), None)

    def titles(self) -> list[str]:
        """Return the titles of all projects."""
        return [str(one["title"]) for one in self._projects()]

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """Return all tasks of a project with their annotations."""
        query = {"exportType": "JSON", "download_all_tasks": "true"}
        found: list[dict[str, Any]] = self.send("GET", f"/api/projects/{project}/export", **query)
        return found

    def _projects(self) -> Iterator[dict[str, Any]]:
        page, more = 1, True
        while more:
            found = self.send("GET", "/api/projects/", page=page, page_size=100)
            yield from found["results"]
            page, more = page + 1, bool(found.get("next"))


@contextlib.contextmanager
def _studio(url: str, key: str) -> Iterator[_Studio]:
    """Give a Label Studio; a personal token, which is a JWT, is exchanged for one that holds a few minutes."""
    try:
        import httpx
    except ImportError as error:
        raise UsageError(f"Label Studio needs {error.name}: pip install 'everloop[label]'") from error
    if not key:
        raise UsageError("Label Studio asks for a key: set LABEL_STUDIO_API_KEY to the token of your account there")
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url!r} is no Label Studio: write it as http://HOST:PORT")
    with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
        studio = _Studio(client, url)
        if key.count(".") == 2:
            client.headers["authorization"] = (
                f"Bearer {studio.send('POST', '/api/token/refresh', {'refresh': key})['access']}"
            )
        else:
            client.headers["authorization"] = f"Token {key}"
        yield studio


def _columns(rows: pd.DataFrame, target: str) -> list[str]:
    return [str(name) for name in rows.columns if name not in (target, *label_files.NOTES)]


def _names(columns: Sequence[str]) -> dict[str, str]:
    """Return what Label Studio may call each column: its own name where that is one word."""
    return {name: name if name.isidentifier() and name != KEY else f"column{n}" for n, name in enumerate(columns)}


def _keys(rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    texts = ("\0".join("" if pd.isna(value) else str(value) for value in row) for row in rows[[*columns]].to_numpy())
    return [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]


def _cell(value: Any, is_media: bool, beside: Path) -> str:
    if is_media:
        packed = value_of(value, beside)
        return data_url(packed) if packed else ""
    return "" if value is None or pd.isna(value) else str(value)


def _prediction(suggested: str, row: pd.Series[Any], schema: Schema, to: str) -> dict[str, Any]:
    number = schema.task == "regression"
    value: dict[str, Any] = {"number": float(suggested)} if number else {"choices": [suggested]}
    told = {"from_name": "label", "to_name": to, "type": "number" if number else "choices", "value": value}
    confidence = row.get(label_files.CONFIDENCE)
    score = {} if confidence is None or pd.isna(confidence) else {"score": float(confidence)}
    return {"model_version": "everloop", "result": [told], **score}
