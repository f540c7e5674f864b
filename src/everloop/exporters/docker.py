"""The Dockerfile of a project's image: no package index, secret or compiler is needed while it is built."""

from __future__ import annotations

from typing import Literal

__all__ = ["BASE", "OTHER_PYTHON", "PACKAGES", "PROJECT", "Kind", "render"]

Kind = Literal["pipeline", "serving"]
BASE = "python:3.11-slim"
PACKAGES, PROJECT = "packages", "project"
"""Folders of the build's context: what uv installed for the image's Python, and the project's own files."""
OTHER_PYTHON = r"the packages are for Python [\d.]+, the base has [\d.]+"
"""What the build says where the base does not fit."""
_USER = 10001

_DOCKERFILE = """\
# Rendered by Everloop. The packages come with the context, so that nothing is fetched while this is built.
ARG BASE={base}
FROM ${{BASE}}
RUN python3 -c "import sys; v = '%d.%d' % sys.version_info[:2]; \
    v == '{version}' or sys.exit('the packages are for Python {version}, the base has ' + v)"
COPY {packages} /opt/everloop
COPY {project} /project
ENV PYTHONPATH=/opt/everloop:/project PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp OMP_NUM_THREADS=1
WORKDIR /project
USER {user}
{command}
"""
_COMMANDS: dict[Kind, str] = {
    "pipeline": 'ENTRYPOINT []\nCMD ["python3", "-m", "everloop.pipelines.entry", "--help"]',
    "serving": (
        "VOLUME /project/.everloop\nEXPOSE 8080\n"
        'CMD ["python3", "-m", "everloop.serving", "--host", "0.0.0.0", "--plan", ".everloop/plan.json", '
        '"--journal", ".everloop/journal", "--keys", ".everloop/keys"]'
    ),
}


def render(kind: Kind, version: tuple[int, int], base: str = BASE) -> dict[str, str]:
    """Return the files of the build's context by name; `version` is that of the Python the packages are for."""
    text = _DOCKERFILE.format(
        base=base,
        version=f"{version[0]}.{version[1]}",
        packages=PACKAGES,
        project=PROJECT,
        user=_USER,
        command=_COMMANDS[kind],
    )
    return {"Dockerfile": text, ".dockerignore": "**/__pycache__\n**/*.pyc\n"}
