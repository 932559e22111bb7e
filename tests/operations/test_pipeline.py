"""The workflows of the repository: valid, careful, and true to what they promise."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.programs import program
from utils.config import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def loaded(name: str) -> dict[str, Any]:
    """A workflow; YAML takes the key `on` for a truth value."""
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    found: dict[Any, Any] = yaml.safe_load(text)
    found["on"] = found.pop(True)
    return found


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", ())]


@pytest.mark.actionlint
def test_actionlint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [program("actionlint"), "-no-color", *map(str, WORKFLOWS)], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.jsonschema
def test_the_schema_of_workflows_accepts_them() -> None:
    words = ["--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)]
    done = subprocess.run(
        [program("check-jsonschema"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_take_nothing_on_trust(path: Path) -> None:
    """Least rights, actions by commit, and no text of an event inside a script."""
    workflow = loaded(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        assert "${{" not in step.get("run", ""), step["run"]


def test_a_change_is_checked_as_promised() -> None:
    """Test, lint, types, coverage above 80 %, security of code and dependencies, image."""
    workflow = loaded("ci.yml")
    assert {"push", "pull_request", "workflow_call"} <= set(workflow["on"])
    text = "\n".join(step.get("run", "") for step in steps(workflow))
    for command in ("make lint", ".ci/run", "bandit ", "pip-audit --strict", "docker build"):
        assert command in text, command
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    with (ROOT / "pyproject.toml").open("rb") as stream:
        assert tomllib.load(stream)["tool"]["coverage"]["report"]["fail_under"] > 80


def test_a_release_reaches_production_through_staging_and_a_person() -> None:
    jobs = loaded("release.yml")["jobs"]
    assert jobs["image"]["needs"] == "ci" and jobs["staging"]["needs"] == "image"
    assert jobs["production"]["needs"] == "staging"
    assert {job["with"]["environment"] for job in jobs.values() if "with" in job} == {
        "staging", "production",
    }  # fmt: skip
    deploy = loaded("deploy.yml")["jobs"]["deploy"]
    assert deploy["environment"]["name"] == "${{ inputs.environment }}"  # approval hangs on it
    text = "\n".join(step.get("run", "") for step in deploy["steps"])
    used = set(re.findall(r"scripts/\w+\.sh", text))
    assert used == {"scripts/deploy.sh", "scripts/smoke_test.sh"}
    assert all((ROOT / name).is_file() for name in used)
    names = [step.get("name") for step in deploy["steps"]]
    assert names.index("Deploy") < names.index("Smoke test")
