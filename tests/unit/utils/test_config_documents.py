"""`.env.example` and `docs/configuration.md` say what the settings class says, both ways."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from utils.config import PATHS, ROOT, SECRETS, load_settings
from utils.settings.documents import GROUPS, configuration_page, entries, env_example


def test_the_files_are_what_the_class_says() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == configuration_page()


def test_every_variable_stands_once_in_the_example() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^#([A-Z0-9_]+)=", text, re.M)) == sorted(PATHS)


def test_every_variable_is_explained() -> None:
    for entry in entries():
        assert len(entry.meaning) > 10, entry.name
        assert entry.group in GROUPS, entry.name
        assert entry.secret or entry.example or entry.default, entry.name
        assert not (entry.secret and entry.name.endswith("KEY") and entry.example), entry.name


_NOT_HERE = {"CONFIG_PATH", "BROKER_LIMITS", "SANDBOX", "SECRETS_COMMAND"}


def test_the_examples_are_valid(tmp_path: Path) -> None:
    environ = {
        entry.name: entry.example
        for entry in entries()
        if entry.example and entry.name not in _NOT_HERE
    }
    for number, name in enumerate(sorted(SECRETS - environ.keys())):
        environ[name] = f"0123456789abcdefghijklmnopqrstuv{number:02}"
    for name in [name for name in environ if name.endswith("_BASE_URL")]:
        del environ[name]
    settings = load_settings(environ=environ, env_file=None, root=tmp_path)
    assert settings.port == 5001
    assert settings.environment == "production"


def test_the_script_finds_and_mends_a_difference(tmp_path: Path) -> None:
    for name in ("utils", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    script = [sys.executable, str(tmp_path / "scripts/gen_config_docs.py")]
    stale = subprocess.run([*script, "--check"], capture_output=True, text=True, check=False)
    assert stale.returncode == 1
    assert ".env.example is not what the settings say" in stale.stdout
    subprocess.run(script, check=True, capture_output=True)
    assert (tmp_path / ".env.example").read_text(encoding="utf-8") == env_example()
    subprocess.run([*script, "--check"], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["default", "development", "staging", "production", "testing"])
def test_the_yaml_of_each_environment_is_valid(name: str, tmp_path: Path) -> None:
    path = ROOT / "config" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert not any(f"{secret.lower()}:" in text for secret in SECRETS)
    environ = {
        "CONFIG_PATH": str(path),
        "SECRET_KEY": "0123456789abcdefghijklmnopqrstuv",
        "API_KEY_PEPPER": "0123456789abcdefghijklmnopqrstuvw",
    }
    load_settings(environ=environ, env_file=None, root=tmp_path)
