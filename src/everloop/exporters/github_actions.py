"""GitHub Actions: checks of a change, training where the state is, releases by a person."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from everloop.exporters import stages
from everloop.exporters.stages import Described, Stage

__all__ = ["render"]

FOLDER = ".github/workflows"
_HEAD = """\
# Written by `everloop ci init github`; yours to change. Secrets and variables: see Everloop's docs/ci.md.
# Actions are pinned by commit. To renew one, take the commit of its release from its own repository, or let
# Dependabot do it (package-ecosystem: github-actions).
"""
_CI = """\
name: everloop-ci
on:
  pull_request:
  push:
    branches: [{branch}]
permissions: {{}}
concurrency:
  group: everloop-ci-${{{{ github.ref }}}}
  cancel-in-progress: true
defaults:
  run:
    shell: bash
jobs:
  check:
    runs-on: ubuntu-24.04
    timeout-minutes: 30
    permissions:
      contents: read
    steps:
{setup}
{checks}
  image:
    needs: check
    if: vars.EVERLOOP_IMAGE != ''
    runs-on: ubuntu-24.04
    timeout-minutes: 30
    permissions:
      contents: read
    env:
      EVERLOOP_IMAGE: ${{{{ vars.EVERLOOP_IMAGE }}}}
      COMMIT: ${{{{ github.sha }}}}
    steps:
{setup}
{image}
"""
_CT = """\
name: everloop-ct
on:
  push:
    branches: [{branch}]
  schedule:
    - cron: "23 3 * * 1"
  workflow_dispatch:
permissions: {{}}
concurrency:
  group: everloop-training
  cancel-in-progress: false
defaults:
  run:
    shell: bash
jobs:
  image:
    if: vars.EVERLOOP_IMAGE != '' && github.event_name == 'push'
    runs-on: ubuntu-24.04
    environment: registry
    timeout-minutes: 30
    permissions:
      contents: read
    env:
      EVERLOOP_IMAGE: ${{{{ vars.EVERLOOP_IMAGE }}}}
      COMMIT: ${{{{ github.sha }}}}
    steps:
{setup}
{image}
  train:
    needs: image
    if: ${{{{ !cancelled() && needs.image.result != 'failure' }}}}
    runs-on: [self-hosted, everloop]
    timeout-minutes: 350
    permissions:
      contents: read
      pull-requests: write # the report is a comment there
    env:
      EVERLOOP_PROJECT: ${{{{ vars.EVERLOOP_PROJECT }}}}
      REPOSITORY: ${{{{ github.repository }}}}
      COMMIT: ${{{{ github.sha }}}}
      CAUSE: ${{{{ github.event_name }}}}
      KIND: ${{{{ github.event_name != 'push' && 'data' || '' }}}}
    steps:
{training}
"""
_CD = """\
name: everloop-cd
on:
  workflow_dispatch:
    inputs:
      action:
        description: What to do
        type: choice
        options: [release, rollback]
        required: true
      version:
        description: The version to release, such as v3
        type: string
        default: ""
      strategy:
        description: How its rollout goes
        type: choice
        options: [canary, shadow, ab, bandit, replace]
        default: canary
permissions: {{}}
concurrency:
  group: everloop-release
  cancel-in-progress: false
defaults:
  run:
    shell: bash
jobs:
  release:
    if: inputs.action == 'release'
    runs-on: [self-hosted, everloop]
    environment: production
    timeout-minutes: 30
    permissions: {{}}
    env:
      EVERLOOP_PROJECT: ${{{{ vars.EVERLOOP_PROJECT }}}}
      EVERLOOP_URL: ${{{{ vars.EVERLOOP_URL }}}}
      EVERLOOP_LOAD_URL: ${{{{ vars.EVERLOOP_LOAD_URL }}}}
      VERSION: ${{{{ inputs.version }}}}
      STRATEGY: ${{{{ inputs.strategy }}}}
    steps:
{release}
  rollback:
    if: inputs.action == 'rollback'
    runs-on: [self-hosted, everloop]
    environment: production
    timeout-minutes: 15
    permissions: {{}}
    env:
      EVERLOOP_PROJECT: ${{{{ vars.EVERLOOP_PROJECT }}}}
    steps:
{rollback}
"""
_LOGIN = """\
printf '%s' "$REGISTRY_PASSWORD" |
  docker login "${EVERLOOP_IMAGE%%/*}" --username "$REGISTRY_USER" --password-stdin"""
_NO_FORK = "github.event.pull_request.head.repo.fork != true"
_DATA_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def render(project: Described) -> dict[str, str]:
    """Return the three workflows of a project by path."""
    setup, image = _setup(project), _step(stages.image())
    tested = next(_step(stage) for stage in stages.checks(project) if stage.id == "test")
    login = _step(Stage("login", "Log in", _LOGIN), _secrets("REGISTRY_USER", "REGISTRY_PASSWORD"))
    pushed = "\n".join([tested, image, login, _step(stages.push())])
    parts = {
        "ci": _CI.format(branch=project.branch, setup=setup, checks=_checks(project), image=image),
        "ct": _CT.format(branch=project.branch, setup=setup, image=pushed, training=_training(project)),
        "cd": _CD.format(release=_release(), rollback=_step(stages.rollback(), {"CAUSE": "a person asked for it"})),
    }
    return {f"{FOLDER}/everloop-{name}.yml": _HEAD + text for name, text in parts.items()}


def _setup(project: Described) -> str:
    checkout, python = (f"{name}@{commit} # {release}" for name, (commit, release) in stages.ACTIONS.items())
    text = f"""\
- uses: {checkout}
  with:
    persist-credentials: false
- uses: {python}
  if: vars.EVERLOOP_INSTALLED != 'true'
  with:
    python-version: "{project.python}"
    cache: pip
    cache-dependency-path: {project.keyed}"""
    return "\n".join([_indent(text), _step(stages.install(project), condition="vars.EVERLOOP_INSTALLED != 'true'")])


def _checks(project: Described) -> str:
    """Return the steps that check a change; what needs keys runs where a variable says that they are there."""
    steps = []
    for stage in stages.checks(project):
        if stage.id == "data":
            steps.append(_step(stage, _secrets(*_DATA_KEYS), f"vars.EVERLOOP_DATA == 'true' && {_NO_FORK}"))
        elif stage.id == "pipeline" and project.compiled:
            reached = "vars.EVERLOOP_STORE == 'true' && github.event_name == 'push'"
            steps.append(_step(stage, _secrets(*_DATA_KEYS, *project.secrets), reached))
        else:
            steps.append(_step(stage))
    return "\n".join(steps)


def _training(project: Described) -> str:
    steps = []
    for stage in stages.training(project):
        if stage.id == "comment":
            steps.append(_step(stage, {"GITHUB_TOKEN": "${{ github.token }}"}))
        elif stage.id == "report":
            summary = 'if [ -f everloop-report.md ]; then cat everloop-report.md >> "$GITHUB_STEP_SUMMARY"; fi'
            steps += [_step(stage), _step(Stage("summary", "Show the report", summary))]
        else:
            steps.append(_step(stage))
    return "\n".join(steps)


def _release() -> str:
    """Return a release that goes back where its tests fail."""
    steps = [_step(stage, {"CAUSE": "released by a workflow"}) for stage in stages.release()]
    failed = "failure() && steps.release.outcome == 'success'"
    return "\n".join([*steps, _step(stages.rollback(), {"CAUSE": "its smoke or load test failed"}, failed)])


def _secrets(*names: str) -> dict[str, str]:
    return {name: f"${{{{ secrets.{name} }}}}" for name in names}


def _step(stage: Stage, variables: Mapping[str, str] | None = None, condition: str | None = None) -> str:
    lines = [f"- name: {stage.title}", f"  id: {stage.id}"]
    lines += [f"  if: {condition}"] if condition else []
    if variables:
        lines += ["  env:", *(f"    {name}: {value}" for name, value in variables.items())]
    return _indent("\n".join([*lines, "  run: |", textwrap.indent(stage.script, "    ")]))


def _indent(text: str) -> str:
    return textwrap.indent(text, " " * 6)
