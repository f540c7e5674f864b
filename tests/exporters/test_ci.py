"""The files for CI systems: valid by schemas and linters, made of the same stages, with no open door."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dekobon_tree_sitter_groovy
import msgspec
import pytest
import yaml
from tree_sitter import Language, Node, Parser

from everloop.exporters import cloud_build, github_actions, jenkins, stages
from everloop.exporters.stages import Described

BIN = Path(sys.executable).parent
LOCAL = Described("bikes", '"everloop[platform]==1.0"', "everloop.toml", pointer="data.dvc")
KUBEFLOW = Described(
    "Bike Rides", "-r requirements.txt", "requirements.txt", "rows.dvc", True, ("PGPASSWORD",), "trunk", "3.12"
)
PROJECTS = pytest.mark.parametrize("project", [LOCAL, KUBEFLOW], ids=["local", "kubeflow"])
RENDERERS = {"github": github_actions.render, "jenkins": jenkins.render, "cloudbuild": cloud_build.render}


def written(project: Described, render: Callable[[Described], dict[str, str]], folder: Path) -> list[Path]:
    files = []
    for name, text in render(project).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        files.append(folder / name)
    return files


def check(*command: str | Path, cwd: Path) -> None:
    ended = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def jobs(project: Described) -> dict[str, dict[str, Any]]:
    return {
        f"{Path(name).stem}/{job}": told
        for name, text in github_actions.render(project).items()
        for job, told in yaml.safe_load(text)["jobs"].items()
    }


@PROJECTS
def test_the_workflows_are_valid_by_githubs_schema_and_two_linters(project: Described, tmp_path: Path) -> None:
    files = written(project, github_actions.render, tmp_path)
    (tmp_path / "actionlint.yaml").write_text("self-hosted-runner:\n  labels: [everloop]\n")
    check(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files, cwd=tmp_path)
    check(BIN / "actionlint", "-config-file", "actionlint.yaml", "-shellcheck=", *files, cwd=tmp_path)
    check(BIN / "zizmor", "--offline", "--quiet", "--no-config", *files, cwd=tmp_path)


@PROJECTS
def test_the_builds_are_valid_by_cloud_builds_schema(project: Described, tmp_path: Path) -> None:
    files = written(project, cloud_build.render, tmp_path)
    check(BIN / "check-jsonschema", "--builtin-schema", "vendor.cloudbuild", *files, cwd=tmp_path)


def test_the_schemas_and_linters_find_what_is_wrong(tmp_path: Path) -> None:
    (workflow, *_), (build, *_) = (written(LOCAL, RENDERERS[name], tmp_path) for name in ("github", "cloudbuild"))
    workflow.write_text(workflow.read_text().replace("timeout-minutes", "timeout_minutes"))
    build.write_text(build.read_text().replace("script:", "scrpt:"))
    for file, schema in ((workflow, "vendor.github-workflows"), (build, "vendor.cloudbuild")):
        with pytest.raises(AssertionError, match="validation errors"):
            check(BIN / "check-jsonschema", "--builtin-schema", schema, file, cwd=tmp_path)


@PROJECTS
def test_jobs_have_rights_bounds_and_pinned_actions(project: Described) -> None:
    for name, text in github_actions.render(project).items():
        told = yaml.safe_load(text)
        assert told["permissions"] == {}, name
        assert told["concurrency"]["group"], name
        assert set(told[True]) <= {"push", "pull_request", "schedule", "workflow_dispatch"}, name
        for action, commit, release in re.findall(r"uses: ([\w/.-]+)@(\S+) # (\S+)", text):
            assert stages.ACTIONS[action] == (commit, release)
            assert re.fullmatch("[0-9a-f]{40}", commit)
        assert text.count("uses:") == len(re.findall(r"uses: \S+@\S+ # v", text)), name
    rights = {name: job["permissions"] for name, job in jobs(project).items()}
    assert rights == {
        "everloop-ci/check": {"contents": "read"},
        "everloop-ci/image": {"contents": "read"},
        "everloop-ct/image": {"contents": "read"},
        "everloop-ct/train": {"contents": "read", "pull-requests": "write"},
        "everloop-cd/release": {},
        "everloop-cd/rollback": {},
    }
    assert all(0 < job["timeout-minutes"] < 360 for job in jobs(project).values())


def test_what_a_pull_request_sets_off_never_runs_beside_the_state() -> None:
    for name, text in github_actions.render(LOCAL).items():
        triggers = yaml.safe_load(text)[True]
        if "self-hosted" in text:
            assert "pull_request" not in triggers, name


@PROJECTS
def test_nothing_is_put_into_shell(project: Described) -> None:
    for name, job in jobs(project).items():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), name
    for text in cloud_build.render(project).values():
        for step in yaml.safe_load(text)["steps"]:
            assert not re.search(r"\$\{?_|\$COMMIT_SHA|\$\{?PROJECT_ID|\$REPO_", step["script"])
    for kind, body in strings(groovy(jenkins.render(project)["Jenkinsfile"])):
        if "\n" in body:
            assert kind == "'''", body
            assert "\\" not in body


@pytest.mark.parametrize("system", RENDERERS)
@PROJECTS
def test_every_system_runs_the_same_stages(project: Described, system: str) -> None:
    text = "\n".join(line.strip() for file in RENDERERS[system](project).values() for line in file.splitlines())
    told = [
        stages.install(project), *stages.checks(project), stages.image(), stages.push(), *stages.training(project),
        *stages.release(), stages.rollback(),
    ]  # fmt: skip
    for stage in told:
        script = "\n".join(line.strip() for line in stage.script.splitlines())
        assert script in text, f"{system} lacks {stage.id}"


@pytest.mark.parametrize("system", RENDERERS)
@PROJECTS
def test_every_script_is_shell(project: Described, system: str) -> None:
    scripts = []
    for text in RENDERERS[system](project).values():
        if system == "github":
            scripts += [s["run"] for job in yaml.safe_load(text)["jobs"].values() for s in job["steps"] if "run" in s]
        elif system == "cloudbuild":
            scripts += [step["script"] for step in yaml.safe_load(text)["steps"]]
        else:
            scripts += [body for _, body in strings(groovy(text)) if "\n" in body]
    assert len(scripts) > 8
    for script in scripts:
        assert system == "github" or re.match(r"#!/usr/bin/env bash\n *set -euo pipefail\n", script)
        ended = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert ended.returncode == 0, f"{ended.stderr}\n{script}"


def test_what_is_sent_to_the_machine_is_shell_too_and_reads_nothing_of_itself() -> None:
    for text in (cloud_build.render(LOCAL)[f"cloudbuild-{name}.yaml"] for name in ("ct", "cd")):
        script = yaml.safe_load(text)["steps"][-1]["script"]
        inner = re.search(r"<<'ON_THE_MACHINE'\n(.*?)\nON_THE_MACHINE\n", script, re.DOTALL)
        assert inner
        assert subprocess.run(["bash", "-n"], input=inner[1], text=True, check=False).returncode == 0
        assert inner[1].endswith("}\nall_of_it </dev/null")


@PROJECTS
def test_the_jenkinsfile_is_groovy_of_jenkins_sections(project: Described) -> None:
    root = groovy(jenkins.render(project)["Jenkinsfile"])
    assert not root.has_error
    assert groovy(jenkins.render(project)["Jenkinsfile"].replace("stages {", "stages (", 1)).has_error
    names = {body for _, body in strings(root)}
    assert {"Checks", "Train", "Release", "Roll back", "everloop", "docker", project.branch} <= names
    assert ("PGPASSWORD" in names) == project.compiled


def test_secrets_are_named_only() -> None:
    text = "".join(github_actions.render(KUBEFLOW).values())
    named = set(re.findall(r"secrets\.(\w+)", text))
    assert named == {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "REGISTRY_USER", "REGISTRY_PASSWORD",
    }  # fmt: skip
    ct = yaml.safe_load(cloud_build.render(KUBEFLOW)["cloudbuild-ct.yaml"])
    assert [s["env"] for s in ct["availableSecrets"]["secretManager"]] == ["PGPASSWORD"]
    assert [step["id"] for step in ct["steps"] if "secretEnv" in step] == ["pipeline"]


def test_a_project_without_a_data_folder_fetches_none() -> None:
    project = msgspec.structs.replace(LOCAL, pointer=None)
    for render in RENDERERS.values():
        assert "dvc pull" not in "".join(render(project).values())


def groovy(text: str) -> Node:
    return Parser(Language(dekobon_tree_sitter_groovy.language())).parse(text.encode()).root_node


def strings(node: Node) -> list[tuple[str, str]]:
    """Return the quote and the content of every string, by their order."""
    if node.type.endswith("string_literal") or node.type == "string":
        text = (node.text or b"").decode()
        quote = text[:3] if text[:3] in ("'''", '"""') else text[:1]
        return [(quote, text[len(quote) : -len(quote)])]
    return [found for child in node.children for found in strings(child)]
