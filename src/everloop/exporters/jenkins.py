"""A Jenkinsfile: the checks on any agent with Docker, training and releases on the one where the state is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from everloop.exporters import stages
from everloop.exporters.stages import Described, Stage

__all__ = ["render"]

FILE = "Jenkinsfile"
_TEXT = """\
// Written by `everloop ci init jenkins`; yours to change. Credentials and variables: see Everloop's docs/ci.md.
// Shell stands in single quotes: Groovy puts nothing into it, it reads the environment.
def scheduled() {{
    return !currentBuild.getBuildCauses('hudson.triggers.TimerTrigger$TimerTriggerCause').isEmpty()
}}

pipeline {{
    agent none
    options {{
        timeout(time: 6, unit: 'HOURS')
        disableConcurrentBuilds()
        buildDiscarder(logRotator(numToKeepStr: '50'))
    }}
    triggers {{
        cron('H 3 * * 1')
    }}
    parameters {{
        choice(name: 'ACTION', choices: ['push', 'retrain', 'release', 'rollback'], description: 'What to do')
        string(name: 'VERSION', defaultValue: '', description: 'The version to release, such as v3')
        choice(name: 'STRATEGY', choices: ['canary', 'shadow', 'ab', 'bandit', 'replace'], description: 'How')
    }}
    stages {{
        stage('Checks') {{
            when {{
                expression {{ params.ACTION == 'push' }}
                not {{ triggeredBy 'TimerTrigger' }}
            }}
            agent {{ label 'docker' }}
            options {{ timeout(time: 30, unit: 'MINUTES') }}
            environment {{ COMMIT = "${{env.GIT_COMMIT}}" }}
            stages {{
{checks}
                stage('Image') {{
                    when {{ expression {{ env.EVERLOOP_IMAGE }} }}
                    steps {{
{image}
                    }}
                }}
                stage('Push') {{
                    when {{
                        branch '{branch}'
                        expression {{ env.EVERLOOP_IMAGE }}
                    }}
                    environment {{ REGISTRY = credentials('everloop-registry') }}
                    steps {{
{push}
                    }}
                }}
            }}
        }}
        stage('Train') {{
            when {{
                beforeAgent true
                branch '{branch}'
                expression {{ params.ACTION in ['push', 'retrain'] }}
            }}
            agent {{ label 'everloop' }}
            environment {{
                COMMIT = "${{env.GIT_COMMIT}}"
                CAUSE = "${{params.ACTION}}"
                KIND = "${{params.ACTION == 'retrain' || scheduled() ? 'data' : ''}}"
            }}
            stages {{
{training}
            }}
        }}
        stage('Release') {{
            when {{
                beforeAgent true
                branch '{branch}'
                expression {{ params.ACTION == 'release' }}
            }}
            agent {{ label 'everloop' }}
            options {{ timeout(time: 30, unit: 'MINUTES') }}
            environment {{ CAUSE = 'released by Jenkins' }}
            stages {{
{release}
                stage('Smoke and load test') {{
                    steps {{
{tests}
                    }}
                    post {{
                        unsuccessful {{
                            withEnv(['CAUSE=its smoke or load test failed']) {{
{failed}
                            }}
                        }}
                    }}
                }}
            }}
        }}
        stage('Roll back') {{
            when {{
                beforeAgent true
                branch '{branch}'
                expression {{ params.ACTION == 'rollback' }}
            }}
            agent {{ label 'everloop' }}
            environment {{ CAUSE = 'a person asked for it' }}
            steps {{
{rollback}
            }}
        }}
    }}
}}
"""
_VENV = '. "$WORKSPACE_TMP/everloop/bin/activate"\n'
_MAKE = 'python3 -m venv "$WORKSPACE_TMP/everloop"\n' + _VENV
_LOGIN = (
    'printf "%s" "$REGISTRY_PSW" | docker login "${EVERLOOP_IMAGE%%/*}" --username "$REGISTRY_USR" --password-stdin\n'
)


def render(project: Described) -> dict[str, str]:
    """Return the Jenkinsfile of a project."""
    first, *tests = stages.release()
    install = stages.install(project)
    return {
        FILE: _TEXT.format(
            branch=project.branch,
            checks="\n".join([_stage(install, _MAKE), *_checks(project)]),
            image=_shell(stages.image(), 24, _VENV),
            push=_shell(stages.push(), 24, _LOGIN),
            training="\n".join(_training(project)),
            release=_stage(first),
            tests="\n".join(_shell(stage, 24) for stage in tests),
            failed=_shell(stages.rollback(), 32),
            rollback=_shell(stages.rollback(), 16),
        )
    }


def _checks(project: Described) -> list[str]:
    """Return the stages that check a change; what needs keys runs where a variable says that they are there."""
    found = []
    for stage in stages.checks(project):
        if stage.id == "data":
            keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
            found.append(_stage(stage, _VENV, "env.EVERLOOP_DATA == 'true' && !env.CHANGE_FORK", keys))
        elif stage.id == "pipeline" and project.compiled:
            reached = "env.EVERLOOP_STORE == 'true' && !env.CHANGE_ID"
            found.append(_stage(stage, _VENV, reached, project.secrets))
        else:
            found.append(_stage(stage, _VENV))
    return found


def _training(project: Described) -> list[str]:
    return [
        _stage(stage, "", "env.REPOSITORY", ("GITHUB_TOKEN",)) if stage.id == "comment" else _stage(stage)
        for stage in stages.training(project)
    ]


def _stage(stage: Stage, before: str = "", condition: str | None = None, secrets: Sequence[str] = ()) -> str:
    lines = [f"stage('{stage.title}') {{"]
    lines += [f"    when {{ expression {{ {condition} }} }}"] if condition else []
    if secrets:
        lines += ["    environment {", *(f"        {name} = credentials('{name}')" for name in secrets), "    }"]
    lines += ["    steps {", _shell(stage, 8, before), "    }", "}"]
    return textwrap.indent("\n".join(lines), " " * 16)


def _shell(stage: Stage, indent: int, before: str = "") -> str:
    """Return a stage's shell in single quotes; it holds no backslash, which Groovy would take for its own."""
    script = "\n".join(["#!/usr/bin/env bash", "set -euo pipefail", before + stage.script])
    return textwrap.indent(f"sh '''{script}\n'''", " " * indent).replace(f"{' ' * indent}#!", "#!")
