"""Lineage in a real ML Metadata store, read back with its own client and by the notebook."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.projects import write_project

from everloop import store as tables
from everloop.errors import SystemError_
from everloop.loop.asking import ask
from everloop.loop.commands import RETRAIN
from everloop.loop.mlmd import ENVIRONMENT, export_mlmd
from everloop.loop.workspace import Workspace, opened
from everloop.pipelines import Environment
from everloop.pipelines.environments import build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOTEBOOK = Path(__file__).parents[2] / "examples" / "lineage.ipynb"
READ = """
import json, sys
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
config = pb.ConnectionConfig()
config.sqlite.filename_uri = sys.argv[1]
store = metadata_store.MetadataStore(config)
kinds = {t.id: t.name for t in store.get_execution_types()}
(version,) = store.get_contexts_by_type("everloop.model_version")
steps = {kinds[e.type_id]: e for e in store.get_executions_by_context(version.id)}
events = store.get_events_by_execution_ids([steps["retrain.train"].id])
print(json.dumps({
    "version": version.name, "data": version.properties["data_version"].string_value, "steps": sorted(steps),
    "states": sorted({e.last_known_state for e in steps.values()}),
    "train": sorted((e.type, e.path.steps[0].key) for e in events),
    "artifacts": sorted(a.name for a in store.get_artifacts() if a.uri.endswith(("json", "parquet", "npz"))),
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_project(tmp_path_factory.mktemp("mlmd") / "project", days=40)
    ask(folder, RETRAIN, {"reason": "test"})
    return folder


def rows(workspace: Workspace, table: sa.Table) -> list[dict[str, Any]]:
    return workspace.store.rows(sa.select(table))


def test_what_is_exported_is_read_back_by_its_own_client(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "lineage.db"
    with opened(folder) as workspace:
        told = export_mlmd(workspace, file)
        known = {table.name: rows(workspace, table) for table in (tables.artifact, tables.execution, tables.link)}
    assert told == {
        "artifacts": len(known["artifact"]), "executions": len(known["execution"]), "events": len(known["link"]),
        "contexts": 2 + 2 + 1,  # two pipelines, a run of each, a version
    }  # fmt: skip
    ended = subprocess.run([build(ENVIRONMENT), "-c", READ, file], capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    assert (found["version"], found["data"]) == ("v1", "data-1")
    assert found["steps"] == sorted(
        f"retrain.{name}" for name in ("assemble", "choose_window", "guard", "judge", "train")
    )
    assert [4, "return"] in found["train"]
    assert {name for kind, name in found["train"] if kind == 3} == {"rows", "choice", "schema", "ask"} & {
        name for _, name in found["train"]
    }
    assert found["artifacts"] == sorted(row["id"] for row in known["artifact"])


def test_a_store_that_cannot_be_written_leaves_the_old_one(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "lineage.db"
    file.write_text("old")
    with opened(folder) as workspace:
        with workspace.store.begin() as connection:
            connection.execute(tables.execution.update().values(status="odd"))
        with pytest.raises(SystemError_, match="ML Metadata did not take the lineage: KeyError: 'odd'"):
            export_mlmd(workspace, file)
        with workspace.store.begin() as connection:
            connection.execute(tables.execution.update().values(status="finished"))
    assert file.read_text() == "old"


def test_the_notebook_finds_its_way_back(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as workspace:
        export_mlmd(workspace, tmp_path / "lineage.db")
        (table,) = [row["artifact"] for row in rows(workspace, tables.data_version)]
    packages = (*ENVIRONMENT.packages, "ipykernel", "nbclient", "pandas")
    run = (
        "import nbformat, nbclient, sys; notebook = nbformat.read(sys.argv[1], 4);"
        "nbclient.NotebookClient(notebook, timeout=120).execute(); nbformat.write(notebook, sys.argv[2])"
    )
    variables = os.environ | {"LINEAGE": str(tmp_path / "lineage.db")}
    command = [
        str(build(Environment(packages, "3.11"))),
        "-W",
        "ignore",
        "-c",
        run,
        str(NOTEBOOK),
        str(tmp_path / "done.ipynb"),
    ]
    subprocess.run(command, env=variables, cwd=tmp_path, check=True, capture_output=True)
    done = json.loads((tmp_path / "done.ipynb").read_text())
    told = json.dumps([cell.get("outputs") for cell in done["cells"]])
    assert "v1 was made of data version data-1" in told
    assert table in told
    assert "retrain.choose_window" in told
