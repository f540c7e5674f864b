"""Runs a GitHub workflow's jobs here: its own shell, step by step, in a real clone, with the conditions it states."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|!|\(|\)|[\w.-]+)")


class Machine:
    """A runner: the repository's address, where its jobs work, and what is set for the repository."""

    def __init__(self, remote: str, folder: Path, environment: dict[str, str], variables: dict[str, str]) -> None:
        self.remote, self.folder, self.environment, self.variables = remote, folder, environment, variables
        self.secrets: dict[str, str] = {}
        self.log: list[str] = []

    def run(self, workflow: Path, event: dict[str, Any], inputs: dict[str, str] | None = None) -> dict[str, Job]:
        """Run the jobs of a workflow for an event (`sha`, `event_name`, ...); returns each by name."""
        told = yaml.safe_load(workflow.read_text())
        done: dict[str, Job] = {}
        for name, job in told["jobs"].items():  # a job stands behind those it needs
            needed = job.get("needs", [])
            needs = [needed] if isinstance(needed, str) else needed
            assert set(needs) <= set(done), f"{name} stands before what it needs"
            done[name] = Job(self, job, event, inputs or {}, {need: done[need].result for need in needs}).run()
        return done


class Job:
    """One job: its result (success, failure, skipped), and of each step its outcome and what it printed."""

    def __init__(
        self,
        machine: Machine,
        job: dict[str, Any],
        event: dict[str, Any],
        inputs: dict[str, str],
        needs: dict[str, str],
    ) -> None:
        self.machine, self.job, self.result = machine, job, "skipped"
        self.outcomes: dict[str, str] = {}
        self.printed: dict[str, str] = {}
        self.context = {
            "github": {"repository": "team/bikes", "token": "token-of-the-job", "ref": "refs/heads/main", **event},
            "vars": machine.variables,
            "secrets": machine.secrets,
            "inputs": inputs,
            "needs": {name: {"result": result} for name, result in needs.items()},
            "steps": {},
        }
        self._needed = all(result == "success" for result in needs.values())

    def run(self) -> Job:
        condition = self.job.get("if")
        wanted = self._needed if condition is None else self._holds(condition, self._needed)
        if not wanted:
            return self
        place = self.machine.folder / f"job-{len(list(self.machine.folder.glob('job-*'))) + 1}"
        place.mkdir(parents=True)
        self.result, failed = "success", False
        for step in self.job["steps"]:
            name = step.get("id", step.get("uses", ""))
            if not self._holds(step["if"], not failed) if "if" in step else failed:
                self.outcomes[name] = "skipped"
                continue
            self.outcomes[name] = "success" if self._step(step, name, place) else "failure"
            self.context["steps"][name] = {"outcome": self.outcomes[name]}
            if self.outcomes[name] == "failure":
                self.result, failed = "failure", True
        return self

    def _step(self, step: dict[str, Any], name: str, place: Path) -> bool:
        if "uses" in step:
            assert step["uses"].startswith("actions/checkout@"), f"{step['uses']} cannot run here"
            subprocess.run(["git", "clone", "-q", self.machine.remote, "."], cwd=place, check=True)
            sha = self.context["github"]["sha"]
            subprocess.run(["git", "checkout", "-q", "--detach", sha], cwd=place, check=True)
            return True
        variables = {
            key: self._filled(str(value)) for key, value in {**self.job.get("env", {}), **step.get("env", {})}.items()
        }
        summary = {"GITHUB_STEP_SUMMARY": str(place / "summary.md")}
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=place, text=True, capture_output=True, timeout=480, check=False,
            env={**os.environ, **self.machine.environment, **summary, **variables},
        )  # fmt: skip
        self.printed[name] = ended.stdout + ended.stderr
        return ended.returncode == 0

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: _text(self._value(found[1])), text)

    def _holds(self, condition: str, well: bool) -> bool:
        """Tell whether a condition holds; one without a status function holds only while all went well."""
        told = condition.strip().removeprefix("${{").removesuffix("}}")
        self.context["status"] = {"success": well, "failure": not well, "cancelled": False}
        asked = re.search(r"\b(success|failure|cancelled|always)\(\)", told)
        return bool(self._value(told)) and (bool(asked) or well)

    def _value(self, text: str) -> Any:
        return Expression(text, self.context).value()


class Expression:
    """GitHub's expressions as far as our files use them: `!`, `==`, `!=`, `&&`, `||`, texts, contexts, status."""

    def __init__(self, text: str, context: dict[str, Any]) -> None:
        self._tokens, self._context = TOKEN.findall(text), context
        assert "".join(self._tokens) == re.sub(r"\s(?=(?:[^']*'[^']*')*[^']*$)", "", text), f"not understood: {text}"

    def value(self) -> Any:
        found = self._or()
        assert not self._tokens, f"left over: {self._tokens}"
        return found

    def _or(self) -> Any:
        found = self._and()
        while self._take("||"):
            other = self._and()
            found = found or other
        return found

    def _and(self) -> Any:
        found = self._equal()
        while self._take("&&"):
            other = self._equal()
            found = found and other
        return found

    def _equal(self) -> Any:
        found = self._one()
        if self._take("=="):
            return found == self._one()
        return found != self._one() if self._take("!=") else found

    def _one(self) -> Any:
        if self._take("!"):
            return not self._one()
        if self._take("("):
            found = self._or()
            assert self._take(")")
            return found
        name = self._tokens.pop(0)
        if name.startswith("'"):
            return name[1:-1].replace("''", "'")
        if name in ("true", "false"):
            return name == "true"
        if self._take("("):
            assert self._take(")")
            return self._context["status"][name]
        found = self._context
        for part in name.split("."):
            found = (found or {}).get(part, "")
        return found

    def _take(self, token: str) -> bool:
        if self._tokens and self._tokens[0] == token:
            self._tokens.pop(0)
            return True
        return False


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
