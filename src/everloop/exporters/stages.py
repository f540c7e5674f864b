"""What continuous integration, delivery and training do, once, as shell: every system's files are made of these stages.

They read the environment and never a text of the system's own, so that nothing a stranger wrote becomes shell.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "ACTIONS",
    "IMAGES",
    "RELEASE",
    "ROLLBACK",
    "RUFF",
    "Described",
    "Stage",
    "checks",
    "image",
    "install",
    "push",
    "release",
    "rollback",
    "training",
]

ACTIONS = {
    "actions/checkout": ("de0fac2e4500dabe0009e67214ff5f5447ce83dd", "v6.0.2"),
    "actions/setup-python": ("a309ff8b426b58ec0e2a45f0f869d46889d02405", "v6.2.0"),
}
"""Every action that the GitHub workflows use: the commit, and the release that it is."""
IMAGES = {
    "docker": "gcr.io/cloud-builders/docker",
    "gcloud": "gcr.io/google.com/cloudsdktool/google-cloud-cli:slim",
}
"""Google's images that Cloud Build's steps run in, beside Python's own; a digest after `@` pins one."""
PYTEST, RUFF = "pytest>=8.4,<10", "ruff>=0.12,<1"
RELEASE, ROLLBACK = "release", "rollback"


class Described(msgspec.Struct, frozen=True):
    """What the files of a project depend on."""

    name: str
    requirements: str
    """What pip installs: `-r requirements.txt`, or Everloop itself."""
    keyed: str
    """The file whose content keys the cache of packages."""
    pointer: str | None = None
    """DVC's pointer to the data folder; None where the data lies elsewhere."""
    compiled: bool = False
    """Whether the retraining is compiled for Kubeflow Pipelines."""
    secrets: tuple[str, ...] = ()
    """The environment variables that hold the store's secrets."""
    branch: str = "main"
    python: str = "3.11"


class Stage(msgspec.Struct, frozen=True):
    """One step of every system: its name, what a person reads, and the shell that does it."""

    id: str
    title: str
    script: str


def install(project: Described) -> Stage:
    """Return the stage that installs what the others need."""
    command = f'python -m pip install --quiet --disable-pip-version-check {project.requirements} "{PYTEST}" "{RUFF}"'
    return Stage("install", "Install", command)


def checks(project: Described) -> tuple[Stage, ...]:
    """Return what a change must pass before it is merged; none of it needs the project's state."""
    fetch = f"if [ -f {project.pointer} ]; then dvc pull; fi\n" if project.pointer else ""
    compiled = Stage("pipeline", "Compile the pipeline", "everloop pipeline compile --out pipeline.yaml")
    built = Stage("pipeline", "Build the pipeline version", "everloop pipeline build")
    return (
        Stage("lint", "Lint", "python -m ruff check ."),
        Stage("data", "Check the data", f"{fetch}if [ -f schema.toml ]; then everloop data check; fi"),
        Stage("test", "Tests of code and model", "everloop test"),
        compiled if project.compiled else built,
    )


def image() -> Stage:
    """Return the stage that builds the image."""
    return Stage("image", "Build the image", 'everloop image build --tag "$EVERLOOP_IMAGE:$COMMIT"')


def push() -> Stage:
    """Return the stage that pushes the image under its commit and as the newest."""
    return Stage(
        "push",
        "Push the image",
        'docker tag "$EVERLOOP_IMAGE:$COMMIT" "$EVERLOOP_IMAGE:latest"\n'
        'docker push --quiet "$EVERLOOP_IMAGE:$COMMIT"\n'
        'docker push --quiet "$EVERLOOP_IMAGE:latest"',
    )


def training(project: Described) -> tuple[Stage, ...]:
    """Return what a push, a schedule or a person sets off, where the project's state is."""
    fetch = f"  if [ -f {project.pointer} ]; then dvc pull; fi\n" if project.pointer else ""
    return (
        Stage(
            "follow",
            "Follow the branch",
            'git -C "$EVERLOOP_PROJECT" fetch --quiet origin\n'
            'git -C "$EVERLOOP_PROJECT" merge --quiet --ff-only "$COMMIT"',
        ),
        Stage(
            "kind",
            "Tell code from data",
            "rm -f everloop-kind everloop-run.json everloop-report.md\n"
            'if [ -n "$KIND" ]; then echo "$KIND"\n'
            'else everloop ci changes "$COMMIT" --project "$EVERLOOP_PROJECT"; fi | tee everloop-kind',
        ),
        Stage(
            "pipeline",
            "Build, test and deploy the pipeline version",
            'if [ "$(cat everloop-kind)" = code ]; then\n'
            '  everloop pipeline build "$COMMIT" --deploy --project "$EVERLOOP_PROJECT"\n'
            "fi",
        ),
        Stage(
            "retrain",
            "Retrain",
            'if [ "$(cat everloop-kind)" != nothing ]; then (\n'
            '  here=$PWD; cd "$EVERLOOP_PROJECT"\n'
            f"{fetch}"
            '  reason="$CAUSE of $(cat "$here/everloop-kind") at $COMMIT"\n'
            '  everloop run --reason "$reason" --json > "$here/everloop-run.json"\n'
            '  git update-ref refs/everloop/trained "$COMMIT"\n'
            ") fi",
        ),
        Stage(
            "report",
            "Report",
            'if [ "$(cat everloop-kind)" != nothing ]; then\n'
            """  version=$(python3 -c 'import json; print(json.load(open("everloop-run.json"))["version"])')\n"""
            '  everloop ci report --version "$version" --project "$EVERLOOP_PROJECT" --out everloop-report.md\n'
            "  cat everloop-report.md\n"
            "fi",
        ),
        Stage(
            "comment",
            "Comment on the pull request",
            'if [ "$(cat everloop-kind)" != nothing ] && [ -n "${GITHUB_TOKEN:-}" ]; then\n'
            '  everloop ci comment everloop-report.md --repository "$REPOSITORY" --commit "$COMMIT"\n'
            "fi",
        ),
    )


def release() -> tuple[Stage, ...]:
    """Return what brings a version of the model to callers; the load test has a server of its own to ask."""
    return (
        Stage(
            RELEASE,
            "Begin the rollout",
            'everloop deploy --strategy "$STRATEGY" --reason "$CAUSE" --project "$EVERLOOP_PROJECT" -- "$VERSION"',
        ),
        Stage(
            "smoke",
            "Smoke test",
            'everloop ci smoke --url "$EVERLOOP_URL" --version "$VERSION" --project "$EVERLOOP_PROJECT"',
        ),
        Stage(
            "load",
            "Load test",
            'if [ -n "${EVERLOOP_LOAD_URL:-}" ]; then\n'
            '  everloop ci load --url "$EVERLOOP_LOAD_URL" --project "$EVERLOOP_PROJECT"\n'
            "fi",
        ),
    )


def rollback() -> Stage:
    """Return the way back."""
    return Stage(ROLLBACK, "Roll back", 'everloop rollback --reason "$CAUSE" --project "$EVERLOOP_PROJECT"')
