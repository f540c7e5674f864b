"""Cloud Build: checks; images to Artifact Registry, then pipeline version and training where the state is; releases."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from everloop.exporters import stages
from everloop.exporters.stages import Described, Stage

__all__ = ["render"]

_TEXT = """\
# Written by `everloop ci init cloudbuild`; yours to change. Triggers, substitutions, roles: see Everloop's docs/ci.md.
# Scripts read the environment; no substitution is put into shell.
steps:
{steps}
{secrets}timeout: {timeout}s
substitutions:
{substitutions}
options:
  logging: CLOUD_LOGGING_ONLY
"""
_SHELL = "#!/usr/bin/env bash\nset -euo pipefail\n"
_PACKAGES = "export PATH=/opt/everloop/bin:$PATH\n"
_DOCKER = "apt-get update -qq\napt-get install -y -qq --no-install-recommends docker.io >/dev/null\n"
_IMAGE = {"EVERLOOP_IMAGE": "${_REGION}-docker.pkg.dev/${PROJECT_ID}/${_REPOSITORY}/${_IMAGE}", "COMMIT": "$COMMIT_SHA"}
_WHERE = {"MACHINE": "$_MACHINE", "ZONE": "$_ZONE", "EVERLOOP_PROJECT": "$_PROJECT"}
_TRAIN = _WHERE | {"COMMIT": "$COMMIT_SHA", "CAUSE": "$_CAUSE", "KIND": "$_KIND", "REPOSITORY": "$REPO_FULL_NAME"}
_RELEASE = _WHERE | {
    "ACTION": "$_ACTION",
    "VERSION": "$_VERSION",
    "STRATEGY": "$_STRATEGY",
    "EVERLOOP_URL": "$_URL",
    "EVERLOOP_LOAD_URL": "$_LOAD_URL",
    "CAUSE": "asked of Cloud Build",
}
_MACHINE = {"_MACHINE": "everloop", "_ZONE": "europe-west1-b", "_PROJECT": "/srv/everloop/project"}


def render(project: Described) -> dict[str, str]:
    """Return the builds of a project by path: of a change, of a push to the branch, of a release."""
    install, (lint, data, test, pipeline) = stages.install(project), stages.checks(project)
    checked = Stage("data", data.title, f'if [ "$DATA" = true ]; then\n{textwrap.indent(data.script, "  ")}\nfi')
    compiled = project.secrets if project.compiled else ()
    first, tested = _python(project, install, f"python -m venv /opt/everloop\n{_PACKAGES}"), _python(project, test)
    built = _python(project, pipeline, secrets=compiled)
    image = _python(project, stages.image(), _PACKAGES + _DOCKER, _IMAGE)
    ci = [first, _python(project, lint), _python(project, checked, variables={"DATA": "$_DATA"}), tested]
    ct = [
        first,
        tested,
        *([built] if project.compiled else []),
        image,
        _step(stages.push(), stages.IMAGES["docker"], _SHELL, _IMAGE),
        _on_machine("train", "\n".join(stage.script for stage in stages.training(project)), _TRAIN),
    ]
    named = {"_REGION": "europe-west1", "_REPOSITORY": "everloop", "_IMAGE": _slug(project.name)}
    released = {"_ACTION": "release", "_VERSION": "", "_STRATEGY": "canary"}
    asked = {"_URL": "http://127.0.0.1:8080", "_LOAD_URL": ""}
    caused = {"_KIND": "", "_CAUSE": "push"}
    return {
        "cloudbuild-ci.yaml": _build(ci if project.compiled else [*ci, built], 3600, {"_DATA": ""}),
        "cloudbuild-ct.yaml": _build(ct, 21600, named | _MACHINE | caused, compiled),
        "cloudbuild-cd.yaml": _build(
            [_on_machine("release", _released(), _RELEASE)], 3600, _MACHINE | released | asked
        ),
    }


def _build(steps: Sequence[str], timeout: int, values: Mapping[str, str], secrets: Sequence[str] = ()) -> str:
    told = "\n".join(f'  {name}: "{value}"' for name, value in values.items())
    return _TEXT.format(steps="\n".join(steps), timeout=timeout, substitutions=told, secrets=_available(secrets))


def _released() -> str:
    """Return the shell of a release that goes back where its tests fail, and of the way back by itself."""
    first, *tests = stages.release()
    tested, back = "\n".join(stage.script for stage in tests), stages.rollback().script
    return f"""\
case "$ACTION" in
release)
{first.script}
set +e
(
set -e
{tested}
)
failed=$?
set -e
if [ "$failed" != 0 ]; then
CAUSE="its smoke or load test failed"
{back}
exit 1
fi
;;
rollback)
{back}
;;
*)
echo "_ACTION is release or rollback, not $ACTION" >&2
exit 2
;;
esac"""


def _on_machine(id: str, shell: str, variables: Mapping[str, str]) -> str:
    """Return a step that runs shell over SSH where the state is; a function, so that nothing in it reads the rest."""
    sent = " ".join(name for name in variables if name not in ("MACHINE", "ZONE"))
    script = f"""\
{{
for name in {sent}; do printf '%s=%q\\n' "$name" "${{!name}}"; done
cat <<'ON_THE_MACHINE'
set -euo pipefail
all_of_it() {{
cd "$(mktemp -d)"
{shell}
}}
all_of_it </dev/null
ON_THE_MACHINE
}} | gcloud compute ssh "$MACHINE" --zone "$ZONE" --tunnel-through-iap --quiet --command "bash -ls\""""
    return _step(Stage(id, "", script), stages.IMAGES["gcloud"], _SHELL, variables)


def _python(
    project: Described,
    stage: Stage,
    before: str = _PACKAGES,
    variables: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
) -> str:
    return _step(stage, f"python:{project.python}-bookworm", _SHELL + before, variables, secrets, packages=True)


def _step(
    stage: Stage,
    image: str,
    before: str,
    variables: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    packages: bool = False,
) -> str:
    lines = [f"- id: {stage.id}", f"  name: {image}"]
    if variables:
        lines += ["  env:", *(f"    - {name}={value}" for name, value in variables.items())]
    lines += [f"  secretEnv: [{', '.join(secrets)}]"] if secrets else []
    lines += ["  volumes:", "    - name: packages", "      path: /opt/everloop"] if packages else []
    return textwrap.indent("\n".join([*lines, "  script: |", textwrap.indent(before + stage.script, "    ")]), "  ")


def _available(secrets: Sequence[str]) -> str:
    """Return where secrets come from: Secret Manager, by name."""
    told = [
        f"    - versionName: projects/$PROJECT_ID/secrets/{name}/versions/latest\n      env: {name}\n"
        for name in secrets
    ]
    return "".join(["availableSecrets:\n  secretManager:\n", *told]) if told else ""


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
